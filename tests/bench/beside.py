"""`make bench-beside COMMIT=...`: CPU a cycle of this tree and of another commit, in one run.

    beside.py COMMIT [--runs N]

The other commit is checked out and set up in .cache/beside/. Both trees measure with their own
test_cpu_a_cycle, both at the same time: what a wake-up costs changes by a third from minute to
minute on a shared machine. Each run gives a ratio; told is their median. PipeWire's own sinks are
the same in both trees: how far their ratio is from 1 is what the measurement cannot see. What it
cannot see is counted: instructions a cycle of each half, by valgrind where it is installed.

Meanwhile no processor sleeps: to wake one costs more than most cycles do, and whether that has to
be depends on the moments at which the two trees' clocks happen to tick.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.meter import table

PROJECT = Path(__file__).parents[2]
TITLE = re.compile(r"CPU a cycle at quantum (\d+)")
ROW = re.compile(r"  (\S+(?: \S+)*)  +(\d+)(?:  |$)")
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


def figures(output: str) -> Figures:
    """Microseconds a cycle by quantum and by what was measured, from the tests' tables."""
    found: Figures = {}
    quantum = 0
    for line in output.splitlines():
        if title := TITLE.match(line):
            quantum = int(title[1])
        elif quantum and (row := ROW.match(line)):
            found[quantum, row[1]] = float(row[2])
    return found


def measured(tree: Path) -> Figures:
    test = ["tests/bench/test_cpu_memory.py", "-k", "cpu_a_cycle"]
    command = [".venv/bin/python", "-m", "pytest", "-q", "-s", *test]
    done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, text=True, check=False)
    found = figures(done.stdout)
    if done.returncode or not found:
        sys.exit(f"beside: {' '.join(command)} failed in {tree}:\n{done.stdout}")
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


def rows(runs: Sequence[tuple[Figures, Figures]]) -> list[list[str]]:
    """`runs`: both trees' figures of each run; a row for each thing measured."""
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
    for quantum in (256, 1024):
        for half in ("frontend", "backend"):
            then, now = (counted(tree, half, quantum) for tree in trees)
            told.append([str(quantum), half, str(then), str(now), f"{now / then - 1:+.1%}"])
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU a cycle beside another commit")
    parser.add_argument("commit")
    parser.add_argument("--runs", type=int, default=8)
    chosen = parser.parse_args()
    resolved = ["git", "-C", str(PROJECT), "rev-parse", "--short", f"{chosen.commit}^{{commit}}"]
    commit = subprocess.run(resolved, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    trees = {"then": checked_out(commit), "now": PROJECT}
    runs: list[tuple[Figures, Figures]] = []
    with ThreadPoolExecutor(len(trees)) as pool, awake():
        for _ in range(chosen.runs):
            then, now = pool.map(measured, trees.values())
            runs.append((then, now))
    head = ["quantum", "process", commit, "now", "change", "single runs"]
    print(table(f"CPU a cycle, us, medians of {chosen.runs} runs at once", head, rows(runs)))
    if shutil.which("valgrind") is None:
        print("no valgrind here: instructions are not counted")
        return 0
    head = ["quantum", "half", commit, "now", "change"]
    print(table("instructions a cycle", head, counts([*trees.values()])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
