"""`make bench-beside COMMIT=...`: CPU a cycle of this tree and of another commit, in one run.

    beside.py COMMIT [--starts N]

The other commit is checked out and set up in .cache/beside/. Both trees play at the same time and
are measured in the same windows (in_step.py): what a wake-up costs changes by a third from minute
to minute on a shared machine. Each window gives a ratio; told is their median. Both PipeWire
daemons are the same in both trees: how far their ratio is from 1 is what the measurement cannot
see. What it cannot see is counted: instructions a cycle of each half, by valgrind where it is
installed.

Meanwhile no processor sleeps: to wake one costs more than most cycles do, and whether that has to
be depends on the moments at which the two trees' clocks happen to tick.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.meter import table

PROJECT = Path(__file__).parents[2]
QUANTA_FRAMES = (256, 1024)
WINDOWS, WINDOW_SEC = 3, 6.0
Figures = dict[tuple[int, str], float]


def checked_out(commit: str) -> Path:
    """The commit's tree, set up as `make bench` needs it."""
    tree = PROJECT / ".cache/beside" / commit
    if not tree.exists():
        tree.parent.mkdir(parents=True, exist_ok=True)
        clone = ["git", "clone", "--quiet", "--no-checkout", str(PROJECT), str(tree)]
        subprocess.run(clone, check=True)
        subprocess.run(["git", "-C", str(tree), "checkout", "--quiet", commit], check=True)
    subprocess.run(["make", "-C", str(tree), "setup-test"], check=True, stdout=sys.stderr)
    return tree


class Playing:
    """One tree at work."""

    def __init__(self, tree: Path, quantum_frames: int) -> None:
        program = [tree / ".venv/bin/python", PROJECT / "tests/bench/in_step.py"]
        self._process = subprocess.Popen(
            [*program, str(quantum_frames)],
            cwd=tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            sys.exit("beside: a tree's in_step.py has ended")
        return line

    def tell(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def windows(trees: Sequence[Path], quantum_frames: int) -> list[tuple[Figures, ...]]:
    """Both trees' figures of each window."""
    playing = [Playing(tree, quantum_frames) for tree in trees]
    for tree in playing:
        tree.said()
    found = []
    for _ in range(WINDOWS):
        for wait_sec in (WINDOW_SEC, 0.0):
            for tree in playing:
                tree.tell()
            time.sleep(wait_sec)
        used = [json.loads(tree.said()) for tree in playing]
        found.append(tuple({(quantum_frames, k): v for k, v in each.items()} for each in used))
    for tree in playing:
        tree.end()
    return found


@contextmanager
def awake() -> Iterator[None]:
    """Every processor has something to do for whoever leaves it idle, and for nobody else."""

    def idle_class() -> None:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    spin = [sys.executable, "-c", "while True: pass"]
    spinners = [subprocess.Popen(spin, preexec_fn=idle_class) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def rows(runs: Sequence[tuple[Figures, ...]]) -> list[list[str]]:
    """`runs`: both trees' figures of each window; a row for each thing measured."""
    told = []
    for quantum, name in runs[0][1]:
        pairs = [(then[quantum, name], now[quantum, name]) for then, now in runs]
        changes = sorted(now / then - 1 for then, now in pairs)
        then, now = (statistics.median(side) for side in zip(*pairs, strict=True))
        change = f"{statistics.median(changes):+.1%}"
        single = f"{changes[0]:+.0%} to {changes[-1]:+.0%}"
        told.append([str(quantum), name, f"{then:.0f}", f"{now:.0f}", change, single])
    return told


def counted(tree: Path, half: str, quantum: int) -> int:
    """Instructions a cycle; counted.py is this tree's, whatever the other one has."""
    program = [tree / ".venv/bin/python", PROJECT / "tests/bench/counted.py", half, str(quantum)]
    done = subprocess.run(program, cwd=tree, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def counts(trees: Sequence[Path]) -> list[list[str]]:
    told = []
    for quantum in QUANTA_FRAMES:
        for half in ("frontend", "backend"):
            then, now = (counted(tree, half, quantum) for tree in trees)
            told.append([str(quantum), half, str(then), str(now), f"{now / then - 1:+.1%}"])
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU a cycle beside another commit")
    parser.add_argument("commit")
    parser.add_argument("--starts", type=int, default=8, help="of both trees, for each quantum")
    chosen = parser.parse_args()
    resolved = ["git", "-C", str(PROJECT), "rev-parse", "--short", f"{chosen.commit}^{{commit}}"]
    commit = subprocess.run(resolved, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    trees = [checked_out(commit), PROJECT]
    told = []
    with awake():
        for quantum_frames in QUANTA_FRAMES:
            found = [windows(trees, quantum_frames) for _ in range(chosen.starts)]
            told += rows([window for start in found for window in start])
    head = ["quantum", "process", commit, "now", "change", "single windows"]
    count = chosen.starts * WINDOWS
    print(table(f"CPU a cycle, us, medians of {count} windows of both at once", head, told))
    if shutil.which("valgrind") is None:
        print("no valgrind here: instructions are not counted")
        return 0
    head = ["quantum", "half", commit, "now", "change"]
    print(table("instructions a cycle", head, counts(trees)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
