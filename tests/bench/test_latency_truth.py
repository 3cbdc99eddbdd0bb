"""How true the delay is that a native client is told: ours beside PipeWire's own virtual devices.

Ours is the real `xen-pv-audio latency` against a loopback whose path is known to the frame, with
drift and with events that come late by 0.5 ms on average, at most 2 ms. peers.py says what is true
of the peers. Every figure is the median of XPA_BENCH_RUNS runs, in frames at 48 kHz, without the
first two seconds of each.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.meter import machine_ticks, runs, seconds, steal_fraction, table
from bench.peers import LOOP, NULL, SLOW_LOOP, Peers
from xenpvaudio.measure.timing import Timing

MEDIAN_FRAMES = 0.5
P99_FRAMES = 2.0
DRIFTS = (0, 200, -200)
OURS = "loopback,delay=40ms,gain=-6dB,quantum=256,jitter=0.5ms,ppm={}"

Figures = dict[str, Any]


def ours(quantum: int, ppm: int) -> Figures:
    command = [sys.executable, "-m", "xenpvaudio", "latency", "--json"]
    command += ["--seconds", str(seconds() + 2), "--quantum", str(quantum)]
    done = subprocess.run(
        [*command, "--simulate=" + OURS.format(ppm)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    found: Figures = json.loads(done.stdout)
    return found


def peer(timing: Timing) -> Figures:
    return {name: getattr(timing, name) for name in Timing.__slots__} | {"xruns": None}


def medians(measure: Callable[[], Figures]) -> Figures:
    """Of the figures that the table shows, each for itself."""
    all_runs = [measure() for _ in range(runs())]
    shown = {
        name: statistics.median(abs(run[name]) for run in all_runs)
        for name in ("error_abs_median_frames", "error_p99_frames", "clock_error_ppm", "true_ms")
    }
    shown["steps"] = sum(len(run["steps"]) for run in all_runs)
    shown["xruns"] = sum(run["xruns"] or 0 for run in all_runs)
    return shown


def row(name: str, ppm: int, f: Figures) -> list[str]:
    return [
        name,
        f"{ppm:+d}" if ppm else "0",
        f"{f['true_ms']:.2f}",
        f"{f['error_abs_median_frames']:.2f}",
        f"{f['error_p99_frames']:.2f}",
        f"{f['clock_error_ppm']:.2f}",
        str(f["steps"]),
        str(f["xruns"]),
    ]


@pytest.mark.parametrize("quantum", [1024, 256, 64])
def test_a_native_client_is_told_the_truth(quantum: int, tmp_path: Path) -> None:
    ticks = machine_ticks()
    found = {ppm: medians(lambda ppm=ppm: ours(quantum, ppm)) for ppm in DRIFTS}
    rows = [row("Xen PV Audio, 0.5 ms jitter", ppm, figures) for ppm, figures in found.items()]
    with Peers(tmp_path, quantum) as peers:
        for name, node, source in (
            ("null sink, its monitor", NULL, NULL),
            ("module-loopback", LOOP, f"{LOOP}-mic"),
            ("module-loopback, 40 ms", SLOW_LOOP, f"{SLOW_LOOP}-mic"),
        ):
            measure = lambda n=node, s=source: peer(peers.duplex(n, s, seconds() + 2))  # noqa: E731
            rows.append(row(name, 0, medians(measure)))
        for ppm in DRIFTS:
            measure = lambda ppm=ppm: peer(peers.pipe(seconds() + 2, ppm))  # noqa: E731
            rows.append(row("pipe-tunnel", ppm, medians(measure)))
    steal = steal_fraction(ticks, machine_ticks())
    title = f"Told against true at quantum {quantum}, medians of {runs()}; {steal:.1%} stolen"
    head = ["", "ppm", "true ms", "|error| median", "p99", "clock off, ppm", "steps", "xruns"]
    print(table(title, head, rows))
    for ppm, figures in found.items():
        assert figures["error_abs_median_frames"] <= MEDIAN_FRAMES, f"{ppm} ppm"
        assert figures["error_p99_frames"] <= P99_FRAMES, f"{ppm} ppm"
