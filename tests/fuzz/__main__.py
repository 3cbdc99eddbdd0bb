"""All fuzzers in turn, or those of these names.

    python -m fuzz SECONDS [NAME...]                  the time split evenly between them
    python -m fuzz --operations NUMBER [NAME...]      so many of each, as fast as they go

Prints for each what it did and how fast; ends with 1 where one found something, and names the file
that repeats it. The time is spent on inputs that reach something new, which are kept; a count of
operations is made of these, optimized and without coverage, and shows on stderr how far it is.
"""

from __future__ import annotations

import argparse
import sys
import time

from fuzz import building, fuzzers


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--operations", type=int, default=0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("words", nargs="*", metavar="SECONDS or NAME")
    a = parser.parse_args()
    a.seconds = 0 if a.operations else int(a.words.pop(0)) if a.words[:1] else 60
    unknown = set(a.words) - set(fuzzers.ALL)
    if unknown:
        parser.error(f"no fuzzer {min(unknown)}; there are {', '.join(fuzzers.ALL)}")
    return a


def main() -> int:
    a = _options()
    names = a.words or fuzzers.ALL
    if building.clang() is None:
        print("fuzz: no clang with libFuzzer: apt install clang libclang-rt-dev", file=sys.stderr)
        return 3
    coverage = fuzzers.has_atheris() and not a.operations
    if not a.operations:
        print(f"in Python: {'atheris' if coverage else 'no atheris here, so no coverage'}")
    each = fuzzers.Limit(seconds=max(1, a.seconds // len(names)), seed=a.seed)
    failed = False
    for name in names:
        if a.operations:
            result = fuzzers.count(name, a.operations, a.seed, _tell)
        else:
            result = fuzzers.run(name, each, coverage=coverage)
        print(result.row(), flush=True)
        for crash in result.crashes:
            print(result.output[-4000:], file=sys.stderr)
            print(f"{name}: {crash}\n  again: {fuzzers.repeat_line(name, crash)}")
        failed = failed or result.failed
    return 1 if failed else 0


def _tell(result: fuzzers.Result) -> None:
    print(result.row(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
