"""The table of changes as Markdown: ours beside PipeWire's own device, runs summed up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from math import isnan
from statistics import median

from interop.changes.change import Change
from interop.changes.recording import Counts, Delay, Seen

STALL_NSEC = 4_000_000
_HEAD = (
    "change", "runs", "ours, played", "ours, captured", "PipeWire's, both ways", "xruns",
    "delay, ms", "told - true, frames", "PipeWire's delay, ms",
)  # fmt: skip


def _total(counts: Iterable[Counts]) -> tuple[int, int]:
    """Lost, and put in."""
    table = [(c.lost + c.stood, c.repeated + c.silent + c.stood) for c in counts]
    return sum(lost for lost, _ in table), sum(more for _, more in table)


def excess(seen: Sequence[Seen], change: Change) -> bool:
    """Whether our two ways together lost more than PipeWire's device did, all runs together."""
    ours = _total([c for s in seen for c in (s.played, s.captured)])
    own = _total(s.own if change.own_is_heard else Counts(0, 0, 0, s.own.stood) for s in seen)
    allowed = change.allowed_frames * len(seen)
    return any(a > b + allowed for a, b in zip(ours, own, strict=True))


def pipewire_version() -> str:
    done = subprocess.run(["pipewire", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def _sum(counts: Iterable[Counts]) -> str:
    """lost / repeated / silent, and how long a device without a time of its own stood still."""
    table = [(c.lost, c.repeated, c.silent, c.stood) for c in counts]
    lost, repeated, silent, stood = map(sum, zip(*table, strict=True))
    return f"{lost} / {repeated} / {silent}" + (f", stood {stood}" if stood else "")


def _middle(values: Sequence[float]) -> float:
    known = [value for value in values if not isnan(value)]
    return median(known) if known else float("nan")


def _delays(delays: Sequence[Delay]) -> str:
    parts = [
        [d.before_ms for d in delays],
        [d.while_ms for d in delays],
        [d.after_ms for d in delays],
    ]
    return " -> ".join(f"{_middle(part):.1f}" for part in parts)


def _errors(delays: Sequence[Delay]) -> str:
    parts = [d.error_while_frames for d in delays], [d.error_after_frames for d in delays]
    return ", ".join(f"{_middle(part):+.1f}" for part in parts)


def row(name: str, seen: Sequence[Seen]) -> str:
    """Of the recordings in which nothing stalled, or of all if there is none."""
    if not seen:
        return f"| {name} | 0 |" + " - |" * (len(_HEAD) - 2)
    calm = [s for s in seen if s.stall_nsec < STALL_NSEC and not s.failure] or seen
    stalled = len(seen) - len(calm)
    failure = next((s.failure for s in calm if s.failure), "")
    cells = [
        name + (f" (failed: {failure})" if failure else ""),
        f"{len(calm)}" + (f" ({stalled} stalled)" if stalled else ""),
        _sum(s.played for s in calm),
        _sum(s.captured for s in calm),
        _sum(s.own for s in calm),
        str(sum(s.xruns for s in calm)),
        _delays([s.delay for s in calm]),
        _errors([s.delay for s in calm]),
        _delays([s.own_delay for s in calm]),
    ]
    return "| " + " | ".join(cells) + " |"


def markdown(names: Sequence[str], seen: Sequence[Seen]) -> str:
    lines = [
        f"## Changes while sound runs, PipeWire {pipewire_version()}",
        "",
        "Frames lost / repeated / silent, summed over the runs; delay of the way out and back"
        " before -> while -> after; told - true: while, after.",
        "",
        "| " + " | ".join(_HEAD) + " |",
        "|" + " --- |" * len(_HEAD),
    ]
    lines += [row(name, [s for s in seen if s.name == name]) for name in names]
    return "\n".join(lines)
