"""What became of a noise on its way: frames lost, repeated, silent, each at its place. Pure.

A recording is cut into stretches of constant lag (recorded frame number less sent one). Where
samples are equal bit by bit that is all there is to it; where a resampler was at work, DelayTrack
finds the lag block by block. Between two stretches lies a gap on either side: of its sounding
frames those that were sent and did not arrive are lost, those that arrived and were not sent are
repeated; what is silent on the recorded side alone is silence put in. So sound that was overwritten
by silence counts as both, as does a driver that stands still and drops what came meanwhile.

A device without a time of its own loses nothing while it stands still: nobody is asked for sound or
given any. How long it stood is seen in the times of its cycles. So does a null sink at each shorter
quantum up to PipeWire 0.3.67: its timer was set for the longer one.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xenpvaudio.measure.correlate import BLOCK_FRAMES, DelayTrack, Floats

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

_SILENT = 0.55 / 32768  # what 16 bits round to 0
_SILENT_RUN_FRAMES = 16
_KEY_FRAMES = 4  # of noise of 9 bits: alike by chance once in 10^11
_STRIDE_FRAMES = 32
_NEAR_FRAMES = 1 << 17
_CHUNK_FRAMES = 1 << 16
_LEAST_FRAMES = 64  # equal ones; fewer may be a resampler's chance
_STOOD_FRAMES = 32  # what a resampler brings in a cycle differs by a few


@dataclass(frozen=True, slots=True)
class Event:
    """At recorded frame `frame`."""

    frame: int
    lost: int
    repeated: int
    silent: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Recorded frames first <= f < end, with their lags at some of them."""

    first: int
    end: int
    frames: Floats
    lags: Floats

    def lag(self, frame: float) -> float:
        return float(np.interp(frame, self.frames, self.lags))


def _exact(first: int, end: int, lag: int) -> _Stretch:
    return _Stretch(first, end, np.array([float(first)]), np.array([float(lag)]))


def _silence(samples: Floats) -> Bools:
    """Which frames belong to a run of silence."""
    quiet = np.concatenate(([False], np.abs(samples) < _SILENT, [False]))
    edges = np.flatnonzero(quiet[1:] != quiet[:-1])
    silent = np.zeros(len(samples), dtype=np.bool_)
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        if end - first >= _SILENT_RUN_FRAMES:
            silent[first:end] = True
    return silent


def _keys(samples: Floats) -> Integers:
    """One number for each place: the few samples from there on. -1: not of this noise."""
    scaled = samples * 32768
    whole = np.rint(scaled).astype(np.int64)
    usable = (whole == scaled) & (whole != 0) & (np.abs(whole) < 512)
    count = max(len(samples) - _KEY_FRAMES + 1, 0)
    keys = np.zeros(count, dtype=np.int64)
    valid = np.ones(count, dtype=np.bool_)
    for i in range(_KEY_FRAMES):
        keys = keys * 1024 + whole[i : i + count] + 512
        valid &= usable[i : i + count]
    keys[~valid] = -1
    return keys


class Track:
    """The way of `sent` to `received`, one channel each."""

    def __init__(self, sent: Floats, received: Floats) -> None:
        self._sent, self._received = sent, received
        self._silent = _silence(received)
        self._sounding_before = _count(~self._silent)
        self._sent_sounding_before = _count(~_silence(sent))
        self._sent_keys, self._received_keys = _keys(sent), _keys(received)
        self._stretches = self._fill(self._equal_stretches())
        self.events = self._find_events()

    # -- stretches

    def _equal_stretches(self) -> list[_Stretch]:
        found: list[_Stretch] = []
        at, lag = 0, 0
        sounding = np.flatnonzero(~self._silent)
        while True:
            next_sounding = int(np.searchsorted(sounding, at))
            if next_sounding == len(sounding):
                return found
            at = int(sounding[next_sounding])
            place = self._look_up(at, lag, everywhere=not found)
            frames = 0 if place is None else self._equal_frames(place, at)
            if place is None or frames < _LEAST_FRAMES:
                at += _STRIDE_FRAMES
                continue
            floor = found[-1].end if found else 0
            back = self._equal_frames_back(place, at, at - floor)
            lag = at - place
            found.append(_exact(at - back, at + frames, lag))
            at += frames

    def _look_up(self, at: int, lag: int, *, everywhere: bool) -> int | None:
        if at >= len(self._received_keys) or (key := self._received_keys[at]) < 0:
            return None
        expected = at - lag
        first = 0 if everywhere else max(expected - _NEAR_FRAMES, 0)
        end = None if everywhere else expected + _NEAR_FRAMES
        if 0 <= expected < len(self._sent_keys) and self._sent_keys[expected] == key:
            return expected
        places = np.flatnonzero(self._sent_keys[first:end] == key) + first
        return int(places[np.argmin(np.abs(places - expected))]) if len(places) else None

    def _equal_frames(self, i: int, j: int) -> int:
        done = 0
        while True:
            here = self._sent[i + done : i + done + _CHUNK_FRAMES]
            there = self._received[j + done : j + done + _CHUNK_FRAMES]
            size = min(len(here), len(there))
            equal = here[:size] == there[:size]
            if not equal.all():
                return done + int(np.argmin(equal))
            done += size
            if size < _CHUNK_FRAMES:
                return done

    def _equal_frames_back(self, i: int, j: int, most: int) -> int:
        size = min(i, j, most, _STRIDE_FRAMES)
        differs = self._sent[i - size : i] != self._received[j - size : j]
        return size if not differs.any() else int(np.argmax(differs[::-1]))

    def _fill(self, equal: list[_Stretch]) -> list[_Stretch]:
        """With the stretches between them that were resampled."""
        found: list[_Stretch] = []
        at, lag = 0, 0.0
        for stretch in [*equal, None]:
            end = stretch.first if stretch else len(self._received)
            if self._sounding(at, end) >= 2 * BLOCK_FRAMES:
                found += self._resampled(at, end, lag)
            if stretch:
                found.append(stretch)
                at, lag = stretch.end, float(stretch.lags[-1])
        return found

    def _resampled(self, first: int, end: int, lag: float) -> list[_Stretch]:
        start = max(first - round(lag) - _NEAR_FRAMES, 0)
        sent = self._sent[start : end - round(lag) + _NEAR_FRAMES]
        track = DelayTrack(sent, self._received[first:end])
        if not track.blocks:
            return []
        cuts = [0.0, *(float(step.frame) for step in track.steps), float(end - first)]
        groups: list[list[tuple[float, float]]] = [[] for _ in cuts[1:]]
        for block in track.blocks:
            number = min(bisect_right(cuts, block.frame) - 1, len(groups) - 1)
            groups[number].append((block.frame + first, block.lag + first - start))
        return [
            _Stretch(
                first + int(a), first + int(b), np.array([g[0] for g in group]),
                np.array([g[1] for g in group]),
            )
            for a, b, group in zip(cuts, cuts[1:], groups, strict=False)
            if group
        ]  # fmt: skip

    # -- events

    def _sounding(self, first: int, end: int) -> int:
        return int(self._sounding_before[end] - self._sounding_before[first])

    def _sent_sounding(self, first: float, end: float) -> int:
        """Negative if it ends before it begins."""
        most = len(self._sent_sounding_before) - 1
        a, b = (min(max(round(frame), 0), most) for frame in (first, end))
        return int(self._sent_sounding_before[b] - self._sent_sounding_before[a])

    def _find_events(self) -> list[Event]:
        found: list[Event] = []
        last: tuple[int, float] | None = None  # where the sound was followed to, its lag there
        for stretch in self._stretches:
            for a, b in self._pieces(stretch):
                if last is not None:
                    found += self._gap(last[0], a, last[1], stretch.lag(a))
                last = (b, stretch.lag(b))
        if last is not None and last[0] < len(self._received):
            rest = len(self._received) - last[0]
            found += self._gap(last[0], last[0] + rest, last[1], last[1])
        return found

    def _pieces(self, stretch: _Stretch) -> list[tuple[int, int]]:
        """A stretch without its silent runs, if it was resampled: an equal one has none of its
        own."""
        if len(stretch.frames) == 1:
            return [(stretch.first, stretch.end)]
        sounding = np.concatenate(([False], ~self._silent[stretch.first : stretch.end], [False]))
        edges = np.flatnonzero(sounding[1:] != sounding[:-1]) + stretch.first
        return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]

    def _gap(self, first: int, end: int, before: float, after: float) -> list[Event]:
        arrived = self._sounding(first, end)
        sent = self._sent_sounding(first - before, end - after)
        silent_sent = round((end - after) - (first - before)) - sent
        silent = max((end - first - arrived) - max(silent_sent, 0), 0)
        event = Event(first, max(sent - arrived, 0), max(arrived - sent, 0), silent)
        return [event] if event.lost or event.repeated or event.silent else []

    # -- results

    def lag_at(self, frames: Floats) -> Floats:
        """NaN where nothing is known."""
        lags = np.full(len(frames), np.nan)
        for stretch in self._stretches:
            here = (frames >= stretch.first) & (frames < stretch.end)
            lags[here] = np.interp(frames[here], stretch.frames, stretch.lags)
        return lags


def _count(which: Bools) -> Integers:
    return np.concatenate(([0], np.cumsum(which, dtype=np.int64)))


def stood_still(frames: Floats, nsec: Floats, rate: int) -> list[tuple[int, int]]:
    """Where a driver's next cycle was not there when the last one's frames were over, and for how
    many frames' time. Its cycles began at `nsec`, and with recorded frame `frames`, each."""
    waits = np.rint(np.diff(nsec) * rate * 1e-9 - np.diff(frames)).astype(np.int64)
    return [(int(frames[i + 1]), int(waits[i])) for i in np.flatnonzero(waits >= _STOOD_FRAMES)]
