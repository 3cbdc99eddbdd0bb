"""`python -m interop.changes`: makes every change while sound runs and prints the table.

--only PART: changes whose name holds PART; --runs N recordings of each; --together N changes in one
recording.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from interop.changes.all import CHANGES
from interop.changes.recording import record
from interop.changes.table import markdown, row


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m interop.changes", description=__doc__)
    parser.add_argument("--only", default=[], action="append")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--together", type=int, default=8)
    a = parser.parse_args()
    chosen = [
        c for name, c in CHANGES.items() if not a.only or any(part in name for part in a.only)
    ]
    seen = []
    for number in range(a.runs):
        for first in range(0, len(chosen), a.together):
            with tempfile.TemporaryDirectory(prefix="xpa-changes-") as folder:
                fresh = record(Path(folder), chosen[first : first + a.together])
            for one in fresh:
                print(f"{number + 1}: {row(one.name, [one])}", file=sys.stderr, flush=True)
            seen += fresh
    print(markdown([c.name for c in chosen], seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
