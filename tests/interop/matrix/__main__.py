"""`python -m interop.matrix`: each kind of guest on each kind of host, and the table as Markdown.

--guest KIND, --host KIND: only these.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from interop.matrix import guests, hosts
from interop.matrix.cell import HEAD, line, measure


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m interop.matrix", description=__doc__)
    parser.add_argument("--guest", choices=guests.KINDS, action="append")
    parser.add_argument("--host", choices=hosts.KINDS, action="append")
    a = parser.parse_args()
    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD), flush=True)
    whole = True
    for guest in a.guest or guests.KINDS:
        for host in a.host or hosts.KINDS:
            with tempfile.TemporaryDirectory(prefix="xpa-matrix-") as folder:
                for cell in measure(guest, host, Path(folder)):
                    whole = whole and cell.frames.bit_exact
                    print(line(cell), flush=True)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
