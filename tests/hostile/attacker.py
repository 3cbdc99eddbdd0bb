"""Program: a hostile guest.

    python -m hostile.attacker DIRECTORY DOMID ATTACK SECONDS

Says "ready" when its attack begins, and at its end how often it did it.
"""

from __future__ import annotations

import sys

from .attacks import ATTACKS, Scene


def main() -> None:
    directory, domid, name, seconds = sys.argv[1:]
    print(ATTACKS[name].run(Scene(directory, int(domid), float(seconds))), flush=True)


if __name__ == "__main__":
    main()
