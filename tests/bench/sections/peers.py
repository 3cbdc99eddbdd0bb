"""What a stereo stream costs, ours beside PipeWire's devices: milliseconds of processor a second of
audio, and wake-ups a second, of all processes that it needs, without the application.

All sides are there from the beginning, and idle but for the one that plays; windows go around, so
that each side has its windows between those of all others. A ratio is that of two windows of the
same round; told is the median, with all of them in JSON.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.meter import resident_kib
from bench.report import Found, Scope
from bench.sides import between, elsewhere, jack, ours, virtual
from bench.sides.side import RATE, Make, NotHereError, Side, write_noise
from bench.window import Window, watch

NULL = "ours, null output"
SIDES: dict[str, Make] = {
    "null sink": virtual.null_sink,
    "loopback": virtual.loopback,
    "pipe-tunnel": virtual.pipe_tunnel,
    "pulse-tunnel": between.pulse_tunnel,
    "RTP pair": between.rtp,
    "netjack2 pair": jack.netjack2,
    NULL: ours.null_output,
    "ours, PipeWire host": ours.pipewire_host,
}
THEN = "ours before, null output"
RATIOS = ((NULL, "pulse-tunnel"), (NULL, "pipe-tunnel"), (NULL, "null sink"), (NULL, THEN))
HALVES = ("frontend", "backend")


@contextmanager
def sides(
    names: Sequence[str], scope: Scope, quantum: int
) -> Iterator[tuple[dict[str, Side], list[str]]]:
    """Those that run here, by name, and a line for each other one."""
    there, notes = {}, []
    with ExitStack() as stack:
        for number, name in enumerate(names):
            place = scope.folder / f"{quantum}-{number}"
            place.mkdir()
            try:
                there[name] = stack.enter_context(SIDES[name](place, quantum))
            except NotHereError as why:
                notes.append(f"{name}: not measured: {why}")
        if scope.then is not None:
            bed = elsewhere.null_output(scope.then, THEN, quantum)
            there[THEN] = stack.enter_context(bed)
        yield there, notes


def one_window(side: Side, noise: Path, quantum: int, scope: Scope) -> Window:
    with side.playing(noise, quantum):
        time.sleep(scope.warm_sec)
        return watch({**side.processes, **side.beside}, scope.window_sec)


def rounds(
    there: dict[str, Side], noise: Path, quantum: int, scope: Scope
) -> list[dict[str, Window]]:
    """Each of a window of every side; another one begins each time."""
    names, found = list(there), []
    for number in range(scope.windows):
        turn = names[number % len(names) :] + names[: number % len(names)]
        windows = {name: one_window(there[name], noise, quantum, scope) for name in turn}
        found.append({name: windows[name] for name in names})
    return found


def cpu(window: Window, side: Side) -> float:
    return sum(window.cpu_msec[name] for name in side.processes)


def wakes(window: Window, side: Side) -> float:
    return sum(window.wakes[name] for name in side.processes)


def figures(found: list[dict[str, Window]], side: Side, quantum: int) -> dict[str, object]:
    windows = [each[side.name] for each in found]
    cycles = RATE / quantum
    processes = {
        name: {
            "cpu_msec_per_sec": statistics.median(w.cpu_msec[name] for w in windows),
            "wakes_per_sec": statistics.median(w.wakes[name] for w in windows),
            "resident_kib": resident_kib(pid),
            "counted": name in side.processes,
        }
        for name, pid in {**side.processes, **side.beside}.items()
    }
    return {
        "cpu_msec_per_sec": [round(cpu(w, side), 3) for w in windows],
        "wakes_per_sec": [round(wakes(w, side), 1) for w in windows],
        "wakes_per_cycle": round(statistics.median(wakes(w, side) for w in windows) / cycles, 2),
        "stall_msec": [round(w.stall_msec, 1) for w in windows],
        "stolen": [round(w.stolen, 4) for w in windows],
        "processes": processes,
    }


def row(found: list[dict[str, Window]], side: Side, quantum: int) -> list[str]:
    windows = [each[side.name] for each in found]
    told = statistics.median(cpu(w, side) for w in windows)
    woken = statistics.median(wakes(w, side) for w in windows)
    parts = [
        f"{name} {statistics.median(w.cpu_msec[name] for w in windows):.1f}"
        for name in side.processes
    ]
    return [
        str(quantum),
        side.name,
        f"{told:.1f}",
        f"{woken:.0f}",
        f"{woken * quantum / RATE:.1f}",
        ", ".join(parts),
        str(sum(w.stalled for w in windows) or "-"),
    ]


def ratios(
    found: list[dict[str, Window]], there: dict[str, Side]
) -> dict[str, dict[str, list[float]]]:
    """Ours by another's, of each round: processor, and wake-ups."""
    told = {}
    for one, other in RATIOS:
        if one in there and other in there:
            told[f"{one} / {other}"] = {
                "cpu": [cpu(r[one], there[one]) / cpu(r[other], there[other]) for r in found],
                "wakes": [wakes(r[one], there[one]) / wakes(r[other], there[other]) for r in found],
            }
    return told


def halves_wakes(found: list[dict[str, Window]], quantum: int) -> float:
    """Wake-ups a cycle of frontend and backend together."""
    sums = [sum(each[NULL].wakes[half] for half in HALVES) for each in found]
    return statistics.median(sums) * quantum / RATE


def run(scope: Scope, names: Sequence[str] = tuple(SIDES)) -> Found:
    head = ["quantum", "", "ms/s", "wake-ups/s", "a cycle", "ms/s of each", "stalled windows"]
    title = f"A stereo stream, medians of {scope.windows} windows of {scope.window_sec:g} s in turn"
    made = Found(title, head)
    noise = write_noise(scope.folder)
    for quantum in scope.quanta:
        with sides(names, scope, quantum) as (there, notes):
            found = rounds(there, noise, quantum, scope)
            made.rows += [row(found, side, quantum) for side in there.values()]
            told = ratios(found, there)
            made.figures[str(quantum)] = {
                "sides": {side.name: figures(found, side, quantum) for side in there.values()},
                "ratios": told,
            }
        made.notes += [note for note in notes if note not in made.notes]
        for name, values in told.items():
            spread = f"{min(values['cpu']):.2f} to {max(values['cpu']):.2f}"
            made.notes.append(
                f"{quantum}: {name}: processor {statistics.median(values['cpu']):.2f} ({spread}), "
                f"wake-ups {statistics.median(values['wakes']):.2f}"
            )
        if NULL in there:
            made.notes.append(f"{quantum}: both halves: {halves_wakes(found, quantum):.1f} a cycle")
    return made
