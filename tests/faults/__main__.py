"""Program: the recovery table, every fault with its measured time; or rounds of connecting.

    python -m faults [WORD OF A FAULT]
    python -m faults ROUNDS

Exit status 1 if something that must hold does not.
"""

from __future__ import annotations

import sys

from witness import Witness

from .matrix import FAULTS
from .place import Place
from .recovery import HEAD, line, measure
from .rounds import POLICY, leaks

STALL_NSEC = 5_000_000


def table(word: str) -> int:
    failed = 0
    print(HEAD, flush=True)
    for name in FAULTS:
        if word not in name:
            continue
        with Place() as place, Witness() as witness:
            row = measure(place, name)
        print(line(row), flush=True)
        stall_nsec = witness.saw.worst_nsec
        note = f" (the machine stood still for {stall_nsec / 1e6:.0f} ms)"
        for fault in row.faults():
            print(f"    wrong: {fault}{note if stall_nsec >= STALL_NSEC else ''}", flush=True)
            failed += 1
    return failed


def main() -> int:
    argument = sys.argv[1] if len(sys.argv) > 1 else ""
    if not argument.isdecimal():
        return 1 if table(argument) else 0
    with Place(POLICY) as place:
        found = leaks(place, int(argument))
    print("\n".join(found) or f"nothing is left of {argument} rounds")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
