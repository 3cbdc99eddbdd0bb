"""System calls a cycle of each process that a stream needs, counted by strace while it plays. What
is counted is slower meanwhile; how many calls a cycle takes hardly depends on that.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

from bench.report import Found, Scope
from bench.sections.peers import NULL, SIDES, sides
from bench.sides.side import RATE, Side, write_noise

COUNT_SEC = 5.0
SHOWN = 4
QUICK = ("pipe-tunnel", NULL)
Counts = dict[str, int]


def parsed(text: str) -> Counts:
    """Of `strace -c`: how often each call was made."""
    counts: Counts = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdecimal() and words[-1] != "total":
            counts[words[-1]] = int(words[3])
    return counts


def counted(pid: int, out: Path, seconds: float) -> Counts:
    """RuntimeError if strace may not look."""
    tracer = subprocess.Popen(
        ["strace", "-c", "-f", "-o", str(out), "-p", str(pid)],
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(seconds)
    if tracer.poll() is not None:
        raise RuntimeError(f"strace: {tracer.communicate()[1].strip()}")
    tracer.send_signal(signal.SIGINT)
    tracer.communicate(timeout=30)
    return parsed(out.read_text())


def row(side: Side, process: str, counts: Counts, quantum: int, seconds: float) -> list[str]:
    cycles = seconds * RATE / quantum
    most = sorted(counts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {count / cycles:.1f}" for name, count in most[:SHOWN])
    total = sum(counts.values()) / cycles
    return [str(quantum), side.name, process, f"{total:.1f}", shown]


def run(scope: Scope) -> Found:
    made = Found("System calls a cycle", ["quantum", "", "process", "calls", "most of them"])
    if shutil.which("strace") is None:
        made.notes.append("no strace here: system calls are not counted")
        return made
    noise = write_noise(scope.folder)
    seconds = scope.window_sec if scope.quick else COUNT_SEC
    names = QUICK if scope.quick else tuple(SIDES)
    for quantum in scope.quanta:
        figures = made.figures[str(quantum)] = {}
        with sides(names, scope, quantum) as (there, notes):
            for side in there.values():
                with side.playing(noise, quantum):
                    time.sleep(scope.warm_sec)
                    for process, pid in side.processes.items():
                        counts = counted(pid, scope.folder / "strace", seconds)
                        made.rows.append(row(side, process, counts, quantum, seconds))
                        cycles = seconds * RATE / quantum
                        figures[f"{side.name}: {process}"] = {
                            name: round(count / cycles, 2) for name, count in counts.items()
                        }
        made.notes += [note for note in notes if note not in made.notes]
    return made
