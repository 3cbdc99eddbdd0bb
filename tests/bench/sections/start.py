"""Start and recovery: from a frontend's start until its sink can be played to, beside that of a
PipeWire daemon with a null sink; and how long there is silence when a half is killed and started
again at once, as a service manager does.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from bench.report import Found, Scope
from bench.sides import ours
from bench.sides.side import SINK, session
from faults import recovery
from faults.place import Place
from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.testbed import find_node

KILLED = ("frontend killed", "backend killed")


def until(condition: Callable[[], object]) -> float:
    """Seconds. Whoever asks takes part of the processor, alike for all."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > 60:
            raise RuntimeError("it does not come")
    return time.monotonic() - began


def of_frontend(runs: int) -> list[float]:
    found = []
    with ours.bed(1024, "--output", "null") as bed:
        bed.wait_for_node()
        for _ in range(runs):
            assert bed.frontend is not None
            bed.frontend.terminate()
            bed.frontend.wait()
            bed.start_frontend()
            found.append(until(bed.node))
    return found


def of_backend_and_frontend(runs: int) -> list[float]:
    found = []
    with ours.bed(1024, "--output", "null") as bed:
        bed.wait_for_node()
        for _ in range(runs):
            bed.stop_halves()
            bed.start_backend()
            bed.start_frontend()
            found.append(until(bed.node))
    return found


def of_null_sink(scope: Scope, runs: int) -> list[float]:
    found = []
    with session(scope.folder, "null-start", 1024, pwconf.null_sink(SINK)) as started:
        for _ in range(runs):
            began = time.monotonic()
            started.restart("pipewire", "wireplumber")
            until(lambda: find_node(started, SINK))
            found.append(time.monotonic() - began)
    return found


def silences(runs: int) -> dict[str, list[float]]:
    """Of playback, from the new process' start."""
    found: dict[str, list[float]] = {name: [] for name in KILLED}
    with Place() as place:
        for _ in range(runs):
            for name in KILLED:
                one = recovery.measure(place, name)
                found[name].append(one.played_sec or 0.0)
    return found


def run(scope: Scope) -> Found:
    runs = 1 if scope.quick else 5
    made = Found(f"Start and recovery, seconds, medians of {runs}", ["", "median", "all"])

    def add(name: str, seconds: list[float]) -> None:
        told = " ".join(f"{value:.2f}" for value in seconds)
        made.rows.append([name, f"{statistics.median(seconds):.2f}", told])
        made.figures[name] = [round(value, 3) for value in seconds]

    add("frontend started until its sink is there", of_frontend(runs))
    add("both halves started until the sink is there", of_backend_and_frontend(runs))
    add("PipeWire with a null sink and WirePlumber, started anew", of_null_sink(scope, runs))
    if scope.quick:
        made.notes.append("recovery is not measured: it takes half a minute")
        return made
    for name, seconds in silences(runs).items():
        add(f"{name} until sound is heard", seconds)
    return made
