"""A guest of one kind on a host of one kind: what of its sound arrives, and what it is told of
time."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from interop.matrix.guests import Guest, guest
from interop.matrix.hosts import Host, host
from interop.outputs.hearing import (
    Times,
    captured_times,
    heard,
    is_quiet,
    played_times,
    recorded,
)
from interop.outputs.speaker import RATE
from interop.sound import eventually, noise, write_noise
from xenpvaudio.sound.compare import Comparison

ATTEMPTS = 3
"""A host's graph drops a cycle where the machine stalls."""


@dataclass(frozen=True)
class Cell:
    """`told_ms` and `true_ms`: how long after a program asked a frame is heard, or before it said;
    medians over some seconds."""

    guest: str
    host: str
    way: str
    frames: Comparison
    attempts: int
    told_ms: float
    true_ms: float

    @property
    def error_ms(self) -> float:
        return self.told_ms - self.true_ms


def _whole(attempt: Callable[[], Comparison]) -> tuple[Comparison, int]:
    """The first that is, or the last one; and how many there were."""
    result, count = attempt(), 1
    while not result.bit_exact and count < ATTEMPTS:
        result, count = attempt(), count + 1
    return result, count


def _medians_ms(times: Times) -> tuple[float, float]:
    told = statistics.median((told - now) / 1e6 for now, told, _ in times)
    return told, statistics.median((true - now) / 1e6 for now, _, true in times)


def _play(made: Guest, on: Host, folder: Path) -> tuple[Comparison, int, float, float]:
    samples = noise(RATE * 2, 2)
    file = write_noise(folder / "noise.wav", samples, 2)

    def attempt() -> Comparison:
        eventually(lambda: is_quiet(on.speaker), "what played before goes on")
        first = on.speaker.frames
        made.play(file)
        return heard(on.speaker, first, samples)

    result, attempts = _whole(attempt)
    first = on.speaker.frames
    marks, sent = made.play_and_ask()
    eventually(lambda: is_quiet(on.speaker), "it plays on")
    return result, attempts, *_medians_ms(played_times(marks, sent, on.speaker, first))


def _record(made: Guest, on: Host, folder: Path) -> tuple[Comparison, int, float, float]:
    result, attempts = _whole(lambda: recorded(made.record(folder)))
    told, true = _medians_ms(captured_times(*made.record_and_ask(folder), on.speaker))
    return result, attempts, -told, -true


def measure(guest_kind: str, host_kind: str, folder: Path) -> list[Cell]:
    """Playback and capture, in that folder, which is empty."""
    with host(host_kind, folder) as on, guest(guest_kind, on) as made:
        return [
            Cell(guest_kind, host_kind, "playback", *_play(made, on, folder)),
            Cell(guest_kind, host_kind, "capture", *_record(made, on, folder)),
        ]


HEAD = (
    *("guest", "host", "way", "sent", "received", "lost", "repeated", "told, ms", "true, ms"),
    "told - true, ms",
)


def line(cell: Cell) -> str:
    """Its row of the table."""
    f = cell.frames
    again = f" (attempt {cell.attempts})" if cell.attempts > 1 else ""
    cells = [cell.guest, cell.host, cell.way, str(f.frames_sent), f"{f.matched}{again}"]
    cells += [str(f.lost), str(f.duplicated), f"{cell.told_ms:.2f}", f"{cell.true_ms:.2f}"]
    return "| " + " | ".join([*cells, f"{cell.error_ms:+.2f}"]) + " |"
