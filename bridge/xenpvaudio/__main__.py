"""`python -m xenpvaudio` is `xen-pv-audio`."""

import sys

from .cli import main

sys.exit(main())
