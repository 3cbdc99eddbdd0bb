"""A witness of the machine: how late an innocent process wakes up that runs beside a measurement.

It does what an audio thread does, at the same priority where that is allowed, and shares no code
with what is measured: it sleeps until a set time, a thousand times a second, and notes how late it
was. If it was late, the machine stalled, and what was measured meanwhile says nothing about us.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

_PROGRAM = """
import json, os, sys, threading, time
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
except OSError:
    pass
late, stalls, ended = [], [], threading.Event()
def count():
    due = time.monotonic_ns()
    while not ended.is_set():
        due += 1_000_000
        time.sleep(max(due - time.monotonic_ns(), 0) / 1e9)
        now = time.monotonic_ns()
        late.append(now - due)
        if now - due >= 1_000_000:
            stalls.append([due, now])
        due = max(due, now - 1_000_000)
thread = threading.Thread(target=count)
thread.start()
print("ready", flush=True)
sys.stdin.read()
ended.set()
thread.join()
late.sort()
print(json.dumps([[late[len(late) // 2], late[len(late) * 99 // 100], late[-1]], stalls]))
"""


@dataclass(frozen=True, slots=True)
class Lateness:
    """Of about 1000 wake-ups a second, nsec."""

    median_nsec: int
    p99_nsec: int
    worst_nsec: int


class Witness:
    """with Witness() as witness: ...; then witness.saw says how late it was.

    stalls: those of a millisecond and more, from when to when it slept, CLOCK_MONOTONIC nsec.
    """

    saw: Lateness
    stalls: list[tuple[int, int]]

    def __enter__(self) -> Witness:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        output, _ = self._process.communicate()
        figures, stalls = json.loads(output)
        self.saw = Lateness(*figures)
        self.stalls = [(begin, end) for begin, end in stalls]

    def longest_stall_nsec(self, begin_nsec: int, end_nsec: int) -> int:
        """Of those that touch this time."""
        return max((b - a for a, b in self.stalls if a < end_nsec and b > begin_nsec), default=0)


T = TypeVar("T")


def runs_that_count(
    measure: Callable[[], T],
    is_right: Callable[[T], bool],
    wanted: int,
    most: int,
    stall_nsec: int,
    witness: Callable[[], Witness] = Witness,
) -> list[T]:
    """`wanted` runs of `measure`, of `most` at the most. One that is wrong is left out only if the
    witness beside it stalled as well; if so many were that too few are left, the test is skipped.
    A run that is right counts, whatever the machine did."""
    runs: list[T] = []
    for _ in range(most):
        with witness() as beside:
            found = measure()
        print(beside.saw)
        if beside.saw.worst_nsec < stall_nsec or is_right(found):
            runs.append(found)
        if len(runs) == wanted:
            return runs
    import pytest  # the lab runs this file's witness where there is none

    pytest.skip(f"wrong, and the machine stalled, in {most - len(runs)} of {most} runs")
