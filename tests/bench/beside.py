"""`make bench-beside COMMIT=...`: CPU a cycle of this tree and of another commit, in one run.

    beside.py COMMIT [--runs N]

The other commit is checked out and set up in .cache/beside/. Both trees measure with their own
test_cpu_a_cycle, in turns, so that both have the same machine; told are the medians.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
from collections import defaultdict
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


def main() -> int:
    parser = argparse.ArgumentParser(description="CPU a cycle beside another commit")
    parser.add_argument("commit")
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    resolved = ["git", "-C", str(PROJECT), "rev-parse", "--short", f"{chosen.commit}^{{commit}}"]
    commit = subprocess.run(resolved, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    trees = {"then": checked_out(commit), "now": PROJECT}
    runs: dict[str, dict[tuple[int, str], list[float]]] = {
        name: defaultdict(list) for name in trees
    }
    for _ in range(chosen.runs):
        for name, tree in trees.items():
            for key, usec in measured(tree).items():
                runs[name][key].append(usec)
    rows = []
    for key, values in runs["now"].items():
        then, now = statistics.median(runs["then"][key]), statistics.median(values)
        spread = f"{min(values):.0f} to {max(values):.0f}"
        rows.append(
            [str(key[0]), key[1], f"{then:.0f}", f"{now:.0f}", f"{now / then - 1:+.1%}", spread]
        )
    head = ["quantum", "process", commit, "now", "change", "runs"]
    print(table(f"CPU a cycle, us, medians of {chosen.runs} runs in turns", head, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
