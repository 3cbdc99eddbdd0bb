"""The clock alone, on simulated devices (bench_clock.c): how fast it locks, and how true.

No wall clock and no other load: these figures are the same everywhere, so that they are judged.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.report import Found, Scope

ROOT = Path(__file__).resolve().parents[3]
LOCK_SEC = 2.0
RESIDUAL_PPM = 1.0
MEDIAN_FRAMES = 0.5
WORST_FRAMES = 2.0
SPACINGS = (64, 256, 512)
"""Frames between marks."""
HEAD = [
    "marks every",
    "",
    "ppm",
    "late, ms",
    "lock, s",
    "p99 from 2 s on",
    "ppm off from 30 s on",
    "frames off from 30 s on, median",
    "worst",
]


def program(folder: Path) -> Path:
    made = folder / "bench_clock"
    sources, rig = ROOT / "pw_module" / "src", ROOT / "tests" / "pw_module" / "rig"
    command = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
    command += ["-iquote", str(sources), "-iquote", str(rig)]
    command += [str(ROOT / "tests" / "bench" / "bench_clock.c"), str(sources / "time/clock.c")]
    subprocess.run([*command, "-lm", "-o", str(made)], check=True)
    return made


def run(scope: Scope) -> Found:
    made = Found("The clock alone: medians of 21 simulated devices (the worst)", HEAD)
    clock = program(scope.folder)
    for spacing in SPACINGS[-1:] if scope.quick else SPACINGS:
        done = subprocess.run([clock, str(spacing)], capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            name, ppm, late, *numbers = line.split("\t")
            pairs = list(zip(map(float, numbers[::2]), map(float, numbers[1::2]), strict=True))
            cells = [f"{a:.2f} ({b:.2f})" for a, b in pairs]
            made.rows.append([str(spacing), name, ppm, late, *cells])
            what = f"marks every {spacing}, {name}, {ppm} ppm, {late} ms late"
            made.figures[what] = pairs
            lock, _, residual, median, worst = (pair[0] for pair in pairs)
            late_to_lock = "lost" in name or late == "2.0"  # fewer, or later, marks lock later
            if (
                (lock >= LOCK_SEC and not late_to_lock)
                or residual >= RESIDUAL_PPM
                or median > MEDIAN_FRAMES
                or worst > WORST_FRAMES
            ):
                made.failures.append(f"the clock alone: {what}: {cells}")
    return made
