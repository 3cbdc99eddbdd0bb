"""One recording: sound runs through both devices while one change after the other is made.

The moments are noted at which nothing happens: a change's own time lies between two of them. The
counting comes afterwards, and each loss is the change's in whose time it was heard.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from interop.changes.change import Change
from interop.changes.counting import Track, stood_still
from interop.changes.place import DEVICES, HOST_QUANTUM_FRAMES, RATE, Place, now_nsec, place
from interop.changes.player import Player, noise, player, write_noise
from witness import Witness
from xenpvaudio.measure.correlate import Floats
from xenpvaudio.measure.timing import Marks

SETTLE_SEC = 5.0
"""The clock of our device is learned by then, and what is told does not change any more."""
_QUIET_SEC = 0.6
"""What is judged of the delay before, while and after: the last part of each time."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Frames."""

    lost: int
    repeated: int
    silent: int
    stood: int = 0
    """In which a device without a time of its own stood still: another one would have lost the
    sound that came, and played silence."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Of the whole way out and back, ms, before, while and after; and how much longer than that
    applications were told it was, frames. NaN: no sound."""

    before_ms: float
    while_ms: float
    after_ms: float
    error_while_frames: float
    error_after_frames: float


@dataclass(frozen=True, slots=True)
class Seen:
    """One change in one recording."""

    name: str
    played: Counts  # ours: at the host's loudspeaker
    captured: Counts  # ours: on the way from there to the recorder
    own: Counts  # on the way through PipeWire's device and back
    xruns: int
    delay: Delay
    own_delay: Delay
    stall_nsec: int
    failure: str


@dataclass(frozen=True, slots=True)
class _Moment:
    nsec: int
    speaker_frames: int
    xruns: int


class _Way:
    """Out through a device and back: what its program was told, against what the samples say."""

    def __init__(self, found: Player, track: Track, speaker: Track | None) -> None:
        origin = int(found.play_marks[0][1])
        self.origin = origin
        self.track = track
        out = Marks(found.play_marks, origin, RATE)
        self._back = back = Marks(found.capture_marks, origin, RATE)
        sent = back.frame - track.lag_at(back.frame)
        if speaker is not None:
            sent = sent - speaker.lag_at(sent)
        known = (sent >= out.frame[0]) & (sent <= out.frame[-1])
        cycle, told = out.at(np.where(known, sent, 0.0))
        self._true = np.where(known, back.cycle - cycle, np.nan)
        self._path = np.where(known, back.told - told, np.nan)

    def frame_at(self, nsec: int) -> int:
        """What had been captured then."""
        i = int(np.searchsorted(self._back.cycle, nsec - self.origin, "right")) - 1
        return int(self._back.frame[max(i, 0)])

    def stood_frames(self, begin: int, end: int) -> int:
        """Between those two captured frames."""
        waits = stood_still(self._back.frame, self._back.cycle, RATE)
        return sum(wait for frame, wait in waits if begin <= frame < end)

    def _median(self, values: Floats, begin: float, end: float) -> float:
        time = self._back.cycle + self.origin
        inside = values[(time >= begin) & (time < end)]
        known = inside[~np.isnan(inside)]
        return float(np.median(known)) if len(known) else float("nan")

    def delay(self, start: int, moments: tuple[int, int, int]) -> Delay:
        """start, moments: nsec when the first change came; when this one's time began, it was
        undone, and its time ended."""
        quiet = _QUIET_SEC * 1e9
        # from loudspeaker to microphone sound takes none of the host's cycles, or a few
        usual = self._median(self._path, start - quiet, start) * RATE / 1e9
        usual = HOST_QUANTUM_FRAMES * np.round(usual / HOST_QUANTUM_FRAMES)
        before, during, after = (self._median(self._true, m - quiet, m) for m in moments)
        paths = [self._median(self._path, m - quiet, m) * RATE / 1e9 for m in moments[1:]]
        told = [float(usual - path) for path in paths]
        return Delay(before / 1e6, during / 1e6, after / 1e6, *told)


def _counts(track: Track, begin: int, end: int) -> Counts:
    inside = [event for event in track.events if begin <= event.frame < end]
    return Counts(
        sum(event.lost for event in inside),
        sum(event.repeated for event in inside),
        sum(event.silent for event in inside),
    )


def record(folder: Path, changes: Sequence[Change]) -> list[Seen]:
    """Makes `changes` in this order."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds = 20 + SETTLE_SEC + sum(c.hold_sec + c.rest_sec + 6 for c in changes)
    noises = [noise(seconds, seed) for seed in range(len(DEVICES))]
    files = [folder / f"noise-{number}.f32" for number in range(len(DEVICES))]
    for file, samples in zip(files, noises, strict=True):
        write_noise(file, samples)
    with place(folder) as here, ExitStack() as players, Witness() as witness:
        found = [
            players.enter_context(player(here, device, file))
            for device, file in zip(DEVICES, files, strict=True)
        ]
        time.sleep(SETTLE_SEC)
        moments, failures = [_moment(here)], []
        for change in changes:
            failures.append(_make(here, change, moments))
        speaker = here.bed.loudspeaker
        assert speaker is not None
        heard_bytes = speaker.data()
        players.close()
    heard = np.frombuffer(heard_bytes, dtype=np.float32)[::2].astype(np.float64)
    out = Track(noises[0], heard)
    ways = [
        _Way(found[0], Track(heard, found[0].captured), out),
        _Way(found[1], Track(noises[1], found[1].captured), None),
    ]
    seen = []
    for number, change in enumerate(changes):
        begin, undone, end = moments[2 * number : 2 * number + 3]
        frames = [(way.frame_at(begin.nsec), way.frame_at(end.nsec)) for way in ways]
        times = (begin.nsec, undone.nsec, end.nsec)
        seen.append(
            Seen(
                name=change.name,
                played=_counts(out, begin.speaker_frames, end.speaker_frames),
                captured=_counts(ways[0].track, *frames[0]),
                own=replace(
                    _counts(ways[1].track, *frames[1]), stood=ways[1].stood_frames(*frames[1])
                ),
                xruns=end.xruns - begin.xruns,
                delay=ways[0].delay(moments[0].nsec, times),
                own_delay=ways[1].delay(moments[0].nsec, times),
                stall_nsec=witness.longest_stall_nsec(begin.nsec, end.nsec),
                failure=failures[number],
            )
        )
    return seen


def _moment(here: Place) -> _Moment:
    xruns = here.xruns()
    speaker = here.bed.loudspeaker
    assert speaker is not None
    return _Moment(now_nsec(), speaker.frames, xruns)


def _make(here: Place, change: Change, moments: list[_Moment]) -> str:
    """Adds the moments before its undoing and after it; what went wrong, if anything did."""
    failure = ""
    undone = None
    try:
        with change.begin(here):
            time.sleep(change.hold_sec)
            undone = _moment(here)
    except (AssertionError, OSError) as error:
        failure = str(error) or type(error).__name__
    time.sleep(change.rest_sec)
    moments.append(undone or _moment(here))
    moments.append(_moment(here))
    return failure
