"""`python -m fuzz.loop TARGET`: one target in Python, for --runs inputs, --operations or --seconds.

With --coverage, atheris makes the inputs and keeps those that reach something new. Without, there
is no coverage: inputs of the corpus, and of what was found with it, are changed at random, from
--seed, the same ones each time. `xenbus` is a state machine of hypothesis, its input a seed.
FILE...: runs these and nothing else.

What breaks is written to a file in --crashes, which is named; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
MACHINE = "xenbus"
MACHINE_EXAMPLES = 10
MOST_BYTES = 2048

Target = Callable[[bytes], int]


def corpus_of(name: str, found: str | None = None) -> list[bytes]:
    """With what is in the folder `found`, too."""
    folders = [CORPUS / name, *([Path(found)] if found else [])]
    return [path.read_bytes() for folder in folders for path in sorted(folder.glob("*"))]


# --- inputs ---------------------------------------------------------------------------------------


def _changed(data: bytearray, seeds: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    some = rng.randrange(1, 17)
    choice = rng.randrange(6)
    if choice == 0:
        data[at:at] = rng.randbytes(some)
    elif choice == 1:
        del data[at : at + some]
    elif choice == 2:
        data[at:at] = data[at : at + 4 * some]
    elif choice == 3 and seeds:
        other = rng.choice(seeds)
        begin = rng.randrange(len(other) + 1)
        data[at:] = other[begin:]
    elif at < len(data):
        data[at] = rng.choice((0, 1, 2, 15, 39, 63, 255, rng.randrange(256)))


def inputs(seeds: list[bytes], number: int) -> Iterator[bytes]:
    """The seeds, then for ever changed ones."""
    rng = random.Random(number)
    yield from seeds
    while True:
        data = bytearray(rng.choice(seeds) if seeds and rng.random() < 0.9 else rng.randbytes(64))
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            _changed(data, seeds, rng)
        yield bytes(data[:MOST_BYTES])


# --- running --------------------------------------------------------------------------------------


class Figures:
    """How much was done, printed as libFuzzer prints its own."""

    def __init__(self) -> None:
        self.executions = self.operations = 0
        self._told = 0.0

    def add(self, operations: int) -> None:
        self.executions += 1
        self.operations += operations
        if time.monotonic() - self._told > 0.5:  # whoever ends us may not let us say it later
            self.tell()

    def tell(self) -> None:
        self._told = time.monotonic()
        print(f"operations: {self.operations}", file=sys.stderr, flush=True)

    def close(self) -> None:
        print(f"stat::number_of_executed_units: {self.executions}", file=sys.stderr)
        self.tell()


def write_crash(folder: Path, name: str, data: bytes, error: BaseException) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    traceback.print_exception(error)
    print(f"crash: {path}", file=sys.stderr)
    return path


def run_inputs(
    name: str,
    run: Target,
    stream: Iterator[bytes],
    goes_on: Callable[[Figures], bool],
    crashes: Path,
) -> bool:
    """False: one broke, and its file is named. `goes_on` is asked before each input."""
    figures = Figures()
    good = True
    while good and goes_on(figures):
        data = next(stream, None)
        if data is None:
            break
        try:
            figures.add(run(data))
        except Exception as error:
            write_crash(crashes, name, data, error)
            good = False
    figures.close()
    return good


def _machine(data: bytes) -> int:
    """An input is the seed of some examples."""
    from fuzz.targets import xenbus

    return xenbus.drive(int(data), MACHINE_EXAMPLES)


def _seeds(first: int) -> Iterator[bytes]:
    while True:
        yield b"%d" % first
        first += 1


def target(name: str) -> Target:
    if name == MACHINE:
        return _machine
    run: Target = importlib.import_module(f"fuzz.targets.{name}").run
    return run


def _with_coverage(name: str, options: argparse.Namespace, crashes: Path) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["xenpvaudio"]):
        run = target(name)
    figures = Figures()
    found = Path(options.found)
    found.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    limit = f"-runs={options.runs}" if options.runs else f"-max_total_time={options.seconds}"
    flags = [
        limit,
        f"-max_len={MOST_BYTES}",
        "-len_control=0",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    flags += [f"-seed={options.seed}", f"-artifact_prefix={crashes}/{name}-", "-timeout=60"]
    atheris.Setup(
        [sys.argv[0], str(found), str(CORPUS / name), *flags], lambda data: figures.add(run(data))
    )
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz.loop", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--operations", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--found", help="where atheris keeps inputs that reach something new")
    parser.add_argument("--crashes", type=Path, default=Path("."))
    a = parser.parse_args()
    if a.coverage and not a.files:
        _with_coverage(a.target, a, a.crashes)
    run = target(a.target)
    end = time.monotonic() + a.seconds
    stream = inputs(corpus_of(a.target, a.found), a.seed) if a.target != MACHINE else _seeds(a.seed)
    if a.files:
        stream = iter([path.read_bytes() for path in a.files])

    def goes_on(figures: Figures) -> bool:
        if a.files:
            return True
        if a.operations:
            return figures.operations < a.operations
        return figures.executions < a.runs if a.runs else time.monotonic() < end

    return 0 if run_inputs(a.target, run, stream, goes_on, a.crashes) else 1


if __name__ == "__main__":
    sys.exit(main())
