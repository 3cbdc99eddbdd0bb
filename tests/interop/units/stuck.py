"""The program as it is, but for a signal that makes its event loop stand still.

python -m interop.units.stuck WORDS...      the command line of xen-pv-audio; SIGUSR1: stand still
"""

from __future__ import annotations

import signal
import sys
import time

from xenpvaudio import cli


def stand_still(*_: object) -> None:
    """On the loop's own thread, between two of its steps."""
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, stand_still)
    sys.exit(cli.main())
