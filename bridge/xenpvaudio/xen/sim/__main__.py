"""`python -m xenpvaudio.xen.sim DIR` runs a simulated hypervisor."""

import sys

from .hypervisor import main

sys.exit(main())
