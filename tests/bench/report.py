"""What a section of `make bench` found: a table for people, figures for machines."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.meter import table


@dataclass(frozen=True)
class Scope:
    """How much is measured. `windows`: of each side, in turn with the others, `window_sec` each."""

    quick: bool
    quanta: Sequence[int]
    windows: int
    window_sec: float
    warm_sec: float
    folder: Path
    then: Path | None = None
    """Another commit's tree, set up."""


QUICK = {"quanta": (1024,), "windows": 1, "window_sec": 2.0, "warm_sec": 1.0}
FULL = {"quanta": (1024, 256), "windows": 5, "window_sec": 10.0, "warm_sec": 3.0}


@dataclass
class Found:
    """`figures`: what JSON can say, units in its names; `notes`: what could not be measured;
    `failures`: of what is the same on every machine."""

    title: str
    head: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    figures: Any = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def text(self) -> str:
        rows = table(self.title, self.head, self.rows) if self.rows else f"\n{self.title}"
        return "\n".join([rows, *(f"  {note}" for note in self.notes)])


def machine() -> dict[str, str | int]:
    """What the figures are of."""
    version = subprocess.run(["pipewire", "--version"], capture_output=True, text=True, check=False)
    words = version.stdout.split()
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "processor": model,
        "processors": os.cpu_count() or 0,
        "kernel": platform.release(),
        "pipewire": words[words.index("libpipewire") + 1] if "libpipewire" in words else "?",
        "python": platform.python_version(),
        "commit": commit(),
    }


def commit() -> str:
    """Of this tree; "-dirty" where it is another one."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "?"
