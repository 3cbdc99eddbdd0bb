"""Instructions a cycle of each half, by callgrind: nearly the same on a busy machine and on a quiet
one, so two commits can be compared anywhere. The kernel's share is not in it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench.report import Found, Scope

COUNTED = Path(__file__).parents[1] / "counted.py"


def run(scope: Scope) -> Found:
    made = Found("Instructions a cycle, without the kernel's", ["quantum", "half", "instructions"])
    if scope.quick or shutil.which("valgrind") is None:
        why = "takes a minute each" if scope.quick else "no valgrind here"
        made.notes.append(f"instructions are not counted: {why}")
        return made
    for quantum in scope.quanta:
        for half in ("frontend", "backend"):
            command = [sys.executable, str(COUNTED), half, str(quantum)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            made.rows.append([str(quantum), half, done.stdout.strip()])
            made.figures[f"{half} {quantum}"] = int(done.stdout)
    return made
