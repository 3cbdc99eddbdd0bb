"""`python -m fuzz SECONDS [NAME...]`: all fuzzers in turn, the time split evenly between them.

Prints for each what it did and how fast; ends with 1 where one found something, and names the file
that repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time

from fuzz import building, fuzzers


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("seconds", type=int)
    parser.add_argument("names", nargs="*", choices=[*fuzzers.ALL, []])
    a = parser.parse_args()
    names = a.names or fuzzers.ALL
    if building.clang() is None:
        print("fuzz: no clang with libFuzzer: apt install clang libclang-rt-dev", file=sys.stderr)
        return 3
    coverage = fuzzers.has_atheris()
    print(f"in Python: {'atheris' if coverage else 'no atheris here, so no coverage'}")
    each = fuzzers.Limit(seconds=max(1, a.seconds // len(names)), seed=int(time.time()))
    failed = False
    for name in names:
        result = fuzzers.run(name, each, coverage=coverage)
        print(result.row(), flush=True)
        for crash in result.crashes:
            print(result.output[-4000:], file=sys.stderr)
            print(f"{name}: {crash}\n  again: {fuzzers.repeat_line(name, crash)}")
        failed = failed or result.failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
