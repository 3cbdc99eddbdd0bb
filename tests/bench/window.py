"""One measurement of some processes: what they used in a while, and what the machine did meanwhile.

A canary thread beside it sleeps and notes how late it wakes, so that a figure from a machine that
stalled is marked. It wakes rarely: a processor that is kept awake would make each wake-up of what
is measured cheaper.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.meter import cpu_nsec, machine_ticks, steal_fraction

CANARY_SEC = 0.05
STALL_MSEC = 5.0


class Canary:
    """with Canary() as canary: ...; then canary.worst_msec."""

    def __enter__(self) -> Canary:
        self.worst_msec = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canary")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            due = time.monotonic() + CANARY_SEC
            if self._ended.wait(CANARY_SEC):
                return
            self.worst_msec = max(self.worst_msec, 1000 * (time.monotonic() - due))


def switches(pid: int) -> int:
    """How often this process' threads went to sleep, each a wake-up."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found = re.search(
            r"^voluntary_ctxt_switches:\s+(\d+)", (thread / "status").read_text(), re.M
        )
        total += int(found[1]) if found else 0
    return total


@dataclass
class Window:
    """By process: milliseconds of processor and wake-ups, each a second."""

    cpu_msec: dict[str, float] = field(default_factory=dict)
    wakes: dict[str, float] = field(default_factory=dict)
    stolen: float = 0.0
    stall_msec: float = 0.0

    @property
    def stalled(self) -> bool:
        return self.stall_msec > STALL_MSEC


def watch(processes: Mapping[str, int], seconds: float) -> Window:
    """These processes for so long."""
    with Canary() as canary:
        ticks, began = machine_ticks(), time.monotonic()
        cpu = {name: cpu_nsec([pid]) for name, pid in processes.items()}
        slept = {name: switches(pid) for name, pid in processes.items()}
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        cpu_after = {name: cpu_nsec([pid]) for name, pid in processes.items()}
        slept_after = {name: switches(pid) for name, pid in processes.items()}
        stolen = steal_fraction(ticks, machine_ticks())
    return Window(
        {name: (cpu_after[name] - cpu[name]) / 1e6 / elapsed for name in processes},
        {name: (slept_after[name] - slept[name]) / elapsed for name in processes},
        stolen,
        canary.worst_msec,
    )
