"""What a duplex client was told about time, against what its samples say. Pure.

The client plays a noise and captures it again. It was told when its first frame of each cycle
would be heard, and when each captured one was at the microphone. Sent frame n is found at captured
frame m: between hearing n and capturing m lies the acoustic path alone. So

    error = path - (told(m) - told(n))    told round trip minus the true one

where the path is known, as that of a virtual loopback is. Where it is not (a room), what was told
must at least leave a path that does not change. All figures in frames are at the nominal rate.
Needs numpy: import it after extras.require().
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .correlate import DelayTrack, Floats, Step

# What the verdict allows.
MEDIAN_FRAMES = 1.0
P99_FRAMES = 2.0
SPREAD_FRAMES = 4.0
CLOCK_PPM = 50.0
FOUND_SHARE = 0.95
# A told time that is off the line by more than this starts a new one.
_JUMP_SEC = 0.0005
_LOCK_FRAMES = 2.0
_LOCK_SEC = 1.0


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of a virtual loopback: its delay in its own frames, its clock's error."""

    path_frames: float
    clock_ppm: float


class Marks:
    """One direction's marks, in order: frame, start of the cycle and told time, nsec."""

    def __init__(self, marks: Sequence[Sequence[int]], origin_nsec: int, rate: int) -> None:
        table = np.array(marks, dtype=np.int64).reshape(-1, 3)
        self.frame: Floats = table[:, 0].astype(np.float64)
        # relative, so that a double holds them exactly
        self.cycle: Floats = (table[:, 1] - origin_nsec).astype(np.float64)
        self.told: Floats = (table[:, 2] - origin_nsec).astype(np.float64)
        self.rate = rate
        self.nsec_per_frame = 1e9 / rate
        self.jumps: list[int] = []  # numbers of the marks

    def fit(self, first_nsec: float) -> Floats:
        """Fits the told clock to marks from `first_nsec` on; returns all marks' residuals, nsec."""
        nominal = self.told - self.frame * self.nsec_per_frame
        leaps = np.diff(nominal)
        jumped = np.abs(leaps) > _JUMP_SEC * 1e9
        self.jumps = [int(i) + 1 for i in np.nonzero(jumped)[0]]
        level = np.concatenate(([0.0], np.cumsum(np.where(jumped, leaps, 0.0))))
        kept = self.cycle >= first_nsec
        if np.count_nonzero(kept) < 3:
            kept = np.ones(len(self.frame), dtype=bool)
        slope, base = np.polyfit(self.frame[kept], (nominal - level)[kept], 1)
        self.nsec_per_frame += float(slope)
        shown: Floats = nominal - slope * self.frame - base
        shown -= np.median(shown[kept])
        return shown

    @property
    def clock_ppm(self) -> float:
        """How much faster than its nominal rate the told clock runs."""
        return (1e9 / (self.nsec_per_frame * self.rate) - 1) * 1e6

    def at(self, frames: Floats) -> tuple[Floats, Floats]:
        """(cycle, told) of any frames, nsec, from the mark before each."""
        i = np.clip(np.searchsorted(self.frame, frames, "right") - 1, 0, len(self.frame) - 1)
        since = (frames - self.frame[i]) * self.nsec_per_frame
        return self.cycle[i] + since, self.told[i] + since


@dataclass(frozen=True, slots=True)
class Series:
    """What the plot shows; times in s since the first played frame's cycle, the rest in frames."""

    time: Floats
    deviation: Floats  # the error, or without a known path the told path less its median
    play_time: Floats
    play_residual: Floats
    capture_time: Floats
    capture_residual: Floats
    steps: list[tuple[float, float]]  # time, frames
    jumps: list[float]


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians, and the errors' distribution, after `settle_sec`; None: not known in a room."""

    true_ms: float
    reported_ms: float | None
    path_ms: float
    error_median_frames: float | None  # signed: a bias
    error_abs_median_frames: float | None  # of the sizes: bias and scatter
    error_p99_frames: float | None
    error_max_frames: float | None
    spread_frames: float
    drift_ppm: float
    play_clock_ppm: float
    capture_clock_ppm: float
    clock_error_ppm: float | None
    lock_sec: float | None
    settle_sec: float
    marks: int
    found_share: float  # of the captured cycles that should hold the noise
    steps: list[dict[str, float]]
    told_jumps: int
    failures: list[str] = field(default_factory=list)


def analyse(
    play: Sequence[Sequence[int]],
    capture: Sequence[Sequence[int]],
    track: DelayTrack,
    rate: int,
    *,
    truth: Truth | None = None,
    settle_sec: float = 2.0,
) -> tuple[Timing, Series] | None:
    """None: the noise was not found in what was captured."""
    if len(play) < 3 or len(capture) < 3 or not track.blocks:
        return None
    origin = int(play[0][1])
    out, back = Marks(play, origin, rate), Marks(capture, origin, rate)
    residuals = out.fit(settle_sec * 1e9), back.fit(settle_sec * 1e9)

    sent = back.frame - track.lag_at(back.frame)
    usable = np.nonzero((sent >= out.frame[0]) & (sent <= out.frame[-1]))[0]
    if not len(usable):
        return None
    cycle, told = out.at(sent[usable])
    time = back.cycle[usable] * 1e-9
    true = back.cycle[usable] - cycle
    path = (back.told[usable] - told) * rate * 1e-9  # as told, frames
    settled = time >= settle_sec
    if np.count_nonzero(settled) < 3:
        settled = np.ones(len(time), dtype=bool)

    middle = float(np.median(path[settled]))
    deviation = path - middle
    if truth is not None:
        expected = truth.path_frames / (1 + truth.clock_ppm * 1e-6)
        deviation = expected - path
    size = np.abs(deviation[settled])
    low, high = np.percentile(deviation[settled], (1, 99))
    true_ms = float(np.median(true[settled])) / 1e6
    error_median = float(np.median(deviation[settled]))
    first_frame = float(back.frame[usable][settled][0])
    known = truth is not None
    clock_error = None
    if truth is not None:
        errors = [marks.clock_ppm - truth.clock_ppm for marks in (out, back)]
        clock_error = max(errors, key=abs)
    timing = Timing(
        true_ms=_round(true_ms),
        reported_ms=_round(true_ms + error_median * 1000 / rate) if known else None,
        path_ms=_round(middle * 1000 / rate),
        error_median_frames=_round(error_median) if known else None,
        error_abs_median_frames=_round(float(np.median(size))) if known else None,
        error_p99_frames=_round(float(np.percentile(size, 99))) if known else None,
        error_max_frames=_round(float(np.max(size))) if known else None,
        spread_frames=_round(float(high - low)),
        drift_ppm=_round(track.drift_ppm(first_frame)),
        play_clock_ppm=_round(out.clock_ppm),
        capture_clock_ppm=_round(back.clock_ppm),
        clock_error_ppm=None if clock_error is None else _round(clock_error),
        lock_sec=_lock_sec(time, deviation),
        settle_sec=settle_sec,
        marks=int(np.count_nonzero(settled)),
        found_share=_round(_found_share(out, back, usable, settle_sec * 1e9)),
        steps=[{"frame": step.frame, "frames": _round(step.frames)} for step in track.steps],
        told_jumps=sum(int(np.sum(m.cycle[m.jumps] >= settle_sec * 1e9)) for m in (out, back)),
    )
    timing.failures.extend(_failures(timing, truth))
    series = Series(
        time=time,
        deviation=deviation,
        play_time=out.cycle * 1e-9,
        play_residual=residuals[0] * rate * 1e-9,
        capture_time=back.cycle * 1e-9,
        capture_residual=residuals[1] * rate * 1e-9,
        steps=[_step_time(step, back) for step in track.steps],
        jumps=sorted(float(t) * 1e-9 for m in (out, back) for t in m.cycle[m.jumps]),
    )
    return timing, series


def _found_share(out: Marks, back: Marks, usable: NDArray[np.intp], first_nsec: float) -> float:
    """From the first one found on, as long as the noise is played."""
    first = max(first_nsec, float(back.cycle[int(usable[0])]))
    due = (back.cycle >= first) & (back.cycle <= out.cycle[-1])
    found = np.zeros(len(back.cycle), dtype=bool)
    found[usable] = True
    return float(np.count_nonzero(found & due)) / max(int(np.count_nonzero(due)), 1)


def _round(value: float) -> float:
    return round(value, 4)


def _step_time(step: Step, marks: Marks) -> tuple[float, float]:
    cycle, _ = marks.at(np.array([float(step.frame)]))
    return float(cycle[0]) * 1e-9, step.frames


def _lock_sec(time: Floats, deviation: Floats) -> float | None:
    """From when on all deviations of one second were within two frames."""
    good = np.abs(deviation) <= _LOCK_FRAMES
    began = None
    for t, ok in zip(time, good, strict=True):
        if not ok:
            began = None
        elif began is None:
            began = float(t)
        elif t - began >= _LOCK_SEC:
            return round(began, 3)
    return None


def _failures(t: Timing, truth: Truth | None) -> list[str]:
    """Why it is not passed; empty: it is."""
    found = []
    if t.error_median_frames is not None and abs(t.error_median_frames) > MEDIAN_FRAMES:
        found.append(f"the error's median is {t.error_median_frames:+.2f} frames")
    if t.error_p99_frames is not None and t.error_p99_frames > P99_FRAMES:
        found.append(f"1 % of the errors are above {t.error_p99_frames:.2f} frames")
    if t.clock_error_ppm is not None and abs(t.clock_error_ppm) > CLOCK_PPM:
        found.append(f"the told clock is off by {t.clock_error_ppm:+.1f} ppm")
    if t.found_share < FOUND_SHARE:
        found.append(f"{100 * (1 - t.found_share):.0f} % of the noise was lost")
    if truth is None and t.spread_frames > SPREAD_FRAMES:
        found.append(f"the told path varies by {t.spread_frames:.2f} frames")
    if truth is None and t.path_ms < 0:
        found.append(f"sound would have been captured {-t.path_ms:.2f} ms before it was heard")
    return found
