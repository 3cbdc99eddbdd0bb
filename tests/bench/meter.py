"""What the benchmarks measure with: CPU time and memory of processes, and an application."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from xenpvaudio.testbed.session import PipeWireSession


def joined(sink: str, source: str) -> dict[str, str]:
    """Environment that makes a duplex client's streams one graph; a sink as source is its
    monitor."""
    monitor = "stream.capture.sink = true" if sink == source else ""
    return {"PIPEWIRE_PROPS": f"{{ node.group = bench-{sink} {monitor} }}"}


def long_seconds(usual: float = 60) -> float:
    """How long a test of endurance lasts; XPA_BENCH_LONG_SEC."""
    return float(os.environ.get("XPA_BENCH_LONG_SEC", usual))


def cpu_nsec(pids: Sequence[int]) -> int:
    """CPU time of all threads of these processes so far (schedstat: exact, not ticks)."""
    total = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    return total


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise LookupError(f"process {pid} has no VmRSS")


def steal_fraction(before: Sequence[int], after: Sequence[int]) -> float:
    """How much of the machine's time its host took meanwhile."""
    delta = [b - a for a, b in zip(before, after, strict=True)]
    return delta[7] / max(1, sum(delta))


def machine_ticks() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


class Player:
    """A steady native client: the probe, playing noise to a sink for as long as it takes. source:
    it captures too, in the same graph; if that is the sink, its monitor."""

    def __init__(
        self,
        session: PipeWireSession,
        sink: str,
        quantum: int,
        rate: int,
        *,
        sec: float,
        source: str = "",
    ) -> None:
        self._sec = sec
        frames = str(int((self._sec + 3) * rate))
        command = [sys.executable, "-m", "xenpvaudio.testbed.noise_player", "--target", sink]
        command += ["--rate", str(rate), "--quantum", str(quantum), "--frames", frames]
        options = {"stdout": subprocess.PIPE, "text": True}
        if source:
            command += ["--source", source, "--capture-frames", frames]
            options["env"] = joined(sink, source)
        self.process = session.popen(command, **options)

    def missed_cycles(self) -> tuple[int, int]:
        """(cycles, of which missed), told by the cycles' own times, once it has ended."""
        output, _ = self.process.communicate(timeout=self._sec + 60)
        assert self.process.returncode == 0, f"the player ended with {self.process.returncode}"
        times = [mark[1] for mark in json.loads(output)["marks"]]
        steps = [b - a for a, b in itertools.pairwise(times)]
        usual = statistics.median(steps)
        return len(steps), sum(round(step / usual) - 1 for step in steps if step > 1.5 * usual)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain table for the terminal."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [title]
    for row in (head, *rows):
        lines.append("  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)))
    return "\n" + "\n".join(lines)
