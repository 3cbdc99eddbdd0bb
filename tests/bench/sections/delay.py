"""How true the delay is that a native client is told: ours beside PipeWire's own virtual devices.

Ours is the real `xen-pv-audio latency` against a loopback whose path is known to the frame, with
drift and with events that come late by 0.5 ms on average, at most 2 ms. peers.py says what is true
of the peers. Every figure is the median of the runs, in frames at 48 kHz, without the first two
seconds of each.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bench.peers import LOOP, NULL, SLOW_LOOP, Peers
from bench.report import Found, Scope
from xenpvaudio.measure.timing import Timing

OURS = "loopback,delay=40ms,gain=-6dB,quantum=256,jitter=0.5ms,ppm={}"
SHOWN = ("error_abs_median_frames", "error_p99_frames", "clock_error_ppm", "true_ms", "reported_ms")
SMALL = 64
"""Beside the scope's quanta."""

Figures = dict[str, Any]
Loop = tuple[str, str, str]
"""What it is called, where to play, and where that comes back."""
LOOPS: Sequence[Loop] = (
    ("null sink, its monitor", NULL, NULL),
    ("module-loopback", LOOP, f"{LOOP}-mic"),
    ("module-loopback, 40 ms", SLOW_LOOP, f"{SLOW_LOOP}-mic"),
)


def ours(quantum: int, ppm: int, seconds: float) -> Figures:
    command = [sys.executable, "-m", "xenpvaudio", "latency", "--json"]
    command += ["--seconds", str(seconds), "--quantum", str(quantum)]
    done = subprocess.run(
        [*command, "--simulate=" + OURS.format(ppm)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"xen-pv-audio latency: {done.stderr.strip()}")
    found: Figures = json.loads(done.stdout)
    return found


def peer(timing: Timing) -> Figures:
    return {name: getattr(timing, name) for name in Timing.__slots__} | {"xruns": None}


def medians(measure: Callable[[], Figures], runs: int) -> Figures:
    """Of the figures that the table shows, each for itself."""
    all_runs = [measure() for _ in range(runs)]
    shown: Figures = {
        name: statistics.median(abs(run[name] or 0.0) for run in all_runs) for name in SHOWN
    }
    shown["steps"] = sum(len(run["steps"]) for run in all_runs)
    shown["xruns"] = sum(run["xruns"] or 0 for run in all_runs)
    shown["errors"] = [run["error_abs_median_frames"] for run in all_runs]
    return shown


def row(quantum: int, name: str, ppm: int, f: Figures) -> list[str]:
    return [
        str(quantum),
        name,
        f"{ppm:+d}" if ppm else "0",
        f"{f['true_ms']:.2f}",
        f"{f['reported_ms']:.2f}",
        f"{f['error_abs_median_frames']:.2f}",
        f"{f['error_p99_frames']:.2f}",
        f"{f['clock_error_ppm']:.2f}",
        str(f["steps"]),
        str(f["xruns"]),
    ]


def of_peers(
    peers: Peers, drifts: Sequence[int], runs: int, seconds: float, loops: Sequence[Loop]
) -> dict[tuple[str, int], Figures]:
    found = {}
    for name, node, source in loops:
        there_and_back = partial(peers.duplex, node, source, seconds)
        found[name, 0] = medians(lambda of=there_and_back: peer(of()), runs)
    for ppm in drifts:
        played = partial(peers.pipe, seconds, ppm)
        found["pipe-tunnel", ppm] = medians(lambda of=played: peer(of()), runs)
    return found


def run(scope: Scope) -> Found:
    runs, seconds = (1, 5.0) if scope.quick else (3, 10.0)
    head = ["quantum", "", "ppm", "true ms", "told ms", "|error| median, frames", "p99"]
    head += ["clock off, ppm", "steps", "xruns"]
    made = Found(f"Told against true delay, medians of {runs}", head)
    drifts = (0,) if scope.quick else (0, 200, -200)
    for quantum in [*scope.quanta, *([] if scope.quick else [SMALL])]:
        figures = {
            ("Xen PV Audio", ppm): medians(partial(ours, quantum, ppm, seconds), runs)
            for ppm in drifts
        }
        folder = scope.folder / f"delay-{quantum}"
        folder.mkdir()
        with Peers(folder, quantum) as peers:
            loops = () if scope.quick else LOOPS
            figures |= of_peers(peers, drifts, runs, seconds, loops)
        made.rows += [row(quantum, name, ppm, found) for (name, ppm), found in figures.items()]
        made.figures[str(quantum)] = {
            f"{name} {ppm:+d} ppm": found for (name, ppm), found in figures.items()
        }
    return made
