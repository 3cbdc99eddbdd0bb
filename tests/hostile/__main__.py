"""Program: every row of the table at full speed, for the figures of a release.

    python -m hostile [SECONDS [WORD OF A ROW]]     10 s a row by default

Exit status 1 if a limit is exceeded in a row in which no audio thread of the machine stood still.
"""

from __future__ import annotations

import sys

from witness import Witness

from .attacks import ROWS
from .rows import HEAD, line, measure
from .stage import Stage

STALL_NSEC = 5_000_000


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    word = sys.argv[2] if len(sys.argv) > 2 else ""
    failed = 0
    with Stage() as stage:
        stage.start_honest()
        print(HEAD, flush=True)
        for name in ROWS:
            if word not in name:
                continue
            with Witness() as witness:
                row = measure(stage, name, seconds)
            print(line(row), flush=True)
            stalled = witness.saw.worst_nsec >= STALL_NSEC
            for fault in row.faults():
                note = f" (the machine stood still for {witness.saw.worst_nsec / 1e6:.0f} ms)"
                print(f"    too much: {fault}{note if stalled else ''}", flush=True)
                failed += not stalled
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
