"""How well an echo canceller did, from what it heard and made out. Pure.

All tracks are of one recording, so aligned. ERLE (echo return loss enhancement) is the echo's power
over that of what is left of it, in dB, while only the far end speaks. Convergence is how long it
takes that to come, for a second, within 3 dB of where it settles on the local loopback. While both
speak, the near end should come out as it was: what of the output a linear filter could have made of
it is its share, the rest is distortion and echo. ERLE alone hides a slow drift, so the echo path's
delay is tracked beside it. Needs numpy: import it after extras.require().
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .correlate import Floats

# What the verdict allows against the local loopback.
ERLE_LOSS_DB = 1.0
AGAIN_LOSS_DB = 2.0  # a shorter phase: it scatters more
CONVERGENCE_RATIO = 1.1
NEAR_LOSS_DB = 1.0
DRIFT_PPM = 20.0
MORE_STEPS = 1

WINDOW_SEC = 0.5
HOP_SEC = 0.05
_NEAR_FFT = 1024
# A window quieter than this against the loudest is a pause.
_PAUSE = 1e-3
_WITHIN_DB = 3.0
_SILENCE = 1e-5  # below the lowest bit of what is played
_MOST_DELAY_SEC = 0.5
_CLEAR = 15.0
_JUMP_FRAMES = 3.0
_MISTAKEN_FRAMES = 200
_PAIR_SEC = 1.5
_STAIRS_SEC = 3.0


@dataclass(frozen=True, slots=True)
class Phases:
    """When what happens, s since the far end began: the far end alone, both, the far end alone."""

    double_talk_sec: float
    again_sec: float
    end_sec: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run, or medians of several; None: could not be measured, or never reached."""

    erle_db: float  # from the middle of the first phase to its end
    erle_again_db: float  # in the last phase, after both have spoken
    convergence_sec: float | None
    near_db: float  # the near end's share against the rest
    delay_frames: float | None  # from the canceller's output to the echo
    delay_drift_ppm: float | None
    delay_steps: int


@dataclass(frozen=True, slots=True)
class Curves:
    """What the plot shows of a run; s since the far end began, dB, frames."""

    time: Floats
    erle: Floats  # NaN in pauses
    delay_time: Floats
    delay: Floats
    steps: list[tuple[float, float]]


def judge_run(
    tracks: Mapping[str, Sequence[float]],
    rate: int,
    phases: Phases,
    goal_db: float | None = None,
) -> tuple[Figures, Curves] | None:
    """tracks: echo, near, out, far. None: no echo came back.

    goal_db: the ERLE that the local loopback settles at; None: this run's own.
    """
    echo, near, out, far = (
        np.asarray(tracks[k], np.float64) for k in ("echo", "near", "out", "far")
    )
    sounding = np.nonzero(np.abs(far) > _SILENCE)[0]
    if not len(sounding) or float(np.max(np.abs(echo))) < 100 * _SILENCE:
        return None
    start = int(sounding[0])
    echo, near, out, far = (track[start:] for track in (echo, near, out, far))

    def part(track: Floats, a: float, b: float) -> Floats:
        return track[round(a * rate) : round(b * rate)]

    both, again, end = phases.double_talk_sec, phases.again_sec, phases.end_sec
    time, erle = _erle_curve(echo, out, rate)
    delay_time, lags = _delay_curve(far, echo, rate)
    drift_ppm, steps = _drift(delay_time, lags, rate)
    # the near end's way to the recorder is shorter than the far end's
    settled_db = _ratio_db(part(echo, both / 2, both - 0.1), part(out, both / 2, both - 0.1))
    goal_db = settled_db if goal_db is None else goal_db
    figures = Figures(
        erle_db=settled_db,
        erle_again_db=_ratio_db(
            part(echo, again + 0.5, end - 0.2), part(out, again + 0.5, end - 0.2)
        ),
        convergence_sec=_convergence_sec(echo, out, rate, both, goal_db - _WITHIN_DB),
        near_db=_share_db(part(near, both, again), part(out, both, again)),
        delay_frames=float(np.median(lags)) if len(lags) else None,
        delay_drift_ppm=drift_ppm,
        delay_steps=len(steps),
    )
    return figures, Curves(time, erle, delay_time, lags, steps)


def echo_delay_frames(tracks: Mapping[str, Sequence[float]], rate: int) -> float | None:
    """From the canceller's output to the echo, the median; None: no echo was found."""
    far, echo = (np.asarray(tracks[name], np.float64) for name in ("far", "echo"))
    _, lags = _delay_curve(far, echo, rate)
    return float(np.median(lags)) if len(lags) else None


def median_figures(runs: Sequence[Figures]) -> Figures:
    """Of runs of equal length. A run that never converged counts as the slowest."""

    def median(values: Sequence[float | None]) -> float | None:
        known = sorted(np.inf if value is None else value for value in values)
        middle = float(np.median(known)) if known else np.inf
        return middle if np.isfinite(middle) else None

    return Figures(
        erle_db=float(np.median([run.erle_db for run in runs])),
        erle_again_db=float(np.median([run.erle_again_db for run in runs])),
        convergence_sec=median([run.convergence_sec for run in runs]),
        near_db=float(np.median([run.near_db for run in runs])),
        delay_frames=median([run.delay_frames for run in runs]),
        delay_drift_ppm=median([run.delay_drift_ppm for run in runs]),
        delay_steps=int(np.median([run.delay_steps for run in runs])),
    )


def failures(here: Figures, local: Figures) -> list[str]:
    """Why `here` is worse than the local loopback; empty: it is not."""
    found = []
    for name, a, b, loss_db in (
        ("ERLE", here.erle_db, local.erle_db, ERLE_LOSS_DB),
        ("ERLE after double talk", here.erle_again_db, local.erle_again_db, AGAIN_LOSS_DB),
    ):
        if a < b - loss_db:
            found.append(f"{name} is {a:.1f} dB, {b - a:.1f} dB below the local loopback's")
    if here.convergence_sec is None:
        found.append("it did not converge")
    elif local.convergence_sec is not None:
        # no finer than the curve's hop
        limit = CONVERGENCE_RATIO * local.convergence_sec + HOP_SEC
        if here.convergence_sec > limit:
            found.append(
                f"it converges in {here.convergence_sec:.2f} s, locally in "
                f"{local.convergence_sec:.2f} s"
            )
    if here.near_db < local.near_db - NEAR_LOSS_DB:
        lost = local.near_db - here.near_db
        found.append(f"the near end is {lost:.1f} dB less clean than on the local loopback")
    if here.delay_drift_ppm is not None and abs(here.delay_drift_ppm) > DRIFT_PPM:
        found.append(f"the echo path's delay drifts by {here.delay_drift_ppm:+.0f} ppm")
    if here.delay_steps > local.delay_steps + MORE_STEPS:
        found.append(f"the echo path's delay jumps {here.delay_steps} times")
    return found


def _ratio_db(a: Floats, b: Floats) -> float:
    return 10 * float(np.log10((np.sum(a**2) + 1e-12) / (np.sum(b**2) + 1e-12)))


def _moving_sum(values: Floats, window: int, hop: int) -> Floats:
    total = np.concatenate(([0.0], np.cumsum(values)))
    starts = np.arange(0, len(values) - window + 1, hop)
    sums: Floats = total[starts + window] - total[starts]
    return sums


def _erle_curve(echo: Floats, out: Floats, rate: int) -> tuple[Floats, Floats]:
    window, hop = round(WINDOW_SEC * rate), round(HOP_SEC * rate)
    heard, left = _moving_sum(echo**2, window, hop), _moving_sum(out**2, window, hop)
    # a window's end: nothing from the future
    time: Floats = np.arange(len(heard), dtype=np.float64) * HOP_SEC + WINDOW_SEC
    erle: Floats = 10 * np.log10((heard + 1e-12) / (left + 1e-12))
    pause = heard < _PAUSE * (float(np.max(heard)) if len(heard) else 0.0)
    erle[pause] = np.nan
    return time, erle


def _convergence_sec(
    echo: Floats, out: Floats, rate: int, until_sec: float, goal_db: float
) -> float | None:
    """From when on the ERLE of a whole second is at the goal."""
    hop = round(HOP_SEC * rate)
    end = round(until_sec * rate)
    heard, left = (_moving_sum(track[:end] ** 2, rate, hop) for track in (echo, out))
    reached = np.nonzero(heard >= left * 10 ** (goal_db / 10))[0]
    return round(float(reached[0]) * HOP_SEC, 3) if len(reached) else None


def _share_db(near: Floats, out: Floats) -> float:
    """Power of what of `out` is linear in `near` against the rest, by their coherence."""
    size = _NEAR_FFT
    count = min(len(near), len(out)) // (size // 2) - 1
    if count < 8:
        return 0.0
    lag = _lag(near, out, size * 16)
    near, out = near[: len(near) - lag], out[lag:]
    window = np.hanning(size)
    cross = np.zeros(size // 2 + 1, dtype=np.complex128)
    p_near, p_out = np.zeros(size // 2 + 1), np.zeros(size // 2 + 1)
    for start in range(0, min(len(near), len(out)) - size + 1, size // 2):
        a = np.fft.rfft(near[start : start + size] * window)
        b = np.fft.rfft(out[start : start + size] * window)
        cross += a * np.conj(b)
        p_near += np.abs(a) ** 2
        p_out += np.abs(b) ** 2
    coherence = np.abs(cross) ** 2 / np.maximum(p_near * p_out, 1e-30)
    share = float(np.sum(coherence * p_out))
    return 10 * float(np.log10(share / max(float(np.sum(p_out)) - share, 1e-12)))


def _lag(a: Floats, b: Floats, most: int) -> int:
    """By how many frames, 0 to `most`, b is behind a."""
    size = 1 << (len(a) + len(b)).bit_length()
    values = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    return int(np.argmax(values[: most + 1]))


def _delay_curve(far: Floats, echo: Floats, rate: int) -> tuple[Floats, Floats]:
    """(s, frames): the echo's delay behind `far` in blocks of one second.

    The cross spectrum counts by its phase alone: the pitch of speech would else be as good a match
    one period off. Blocks without a clear peak (pauses) are left out.
    """
    most = round(_MOST_DELAY_SEC * rate)
    size = 1 << (rate + most).bit_length()
    time, lags = [], []
    for start in range(0, min(len(far), len(echo)) - rate + 1, rate // 4):
        first = max(start - most, 0)
        sent = np.fft.rfft(far[first : start + rate], size)
        heard = np.fft.rfft(echo[start : start + rate], size)
        cross = heard * np.conj(sent)
        cross /= np.abs(cross) + 1e-3 * float(np.mean(np.abs(cross))) + 1e-30
        values = np.fft.irfft(cross, size)
        best = int(np.argmax(values))
        if values[best] > _CLEAR * float(np.sqrt(np.mean(values**2))):
            left, middle, right = (float(values[(best + i) % size]) for i in (-1, 0, 1))
            between = 0.5 * (left - right) / min(left - 2 * middle + right, -1e-30)
            behind = best + between if best < size // 2 else best + between - size
            time.append(start / rate + 0.5)
            lags.append(behind + start - first)
    lag = np.array(lags)
    # one click spoils all blocks that it is in: what returns within a second was mistaken
    around = np.lib.stride_tricks.sliding_window_view(np.pad(lag, 4, "edge"), 9) if lags else lag
    kept = np.abs(lag - np.median(around, axis=-1)) < _MISTAKEN_FRAMES if lags else slice(0)
    return np.array(time)[kept], lag[kept]


def _drift(time: Floats, lags: Floats, rate: int) -> tuple[float | None, list[tuple[float, float]]]:
    """Drift in ppm, and the places where the delay jumps: (s, frames)."""
    later, earlier = np.tril_indices(len(lags), -1)
    apart = time[later] - time[earlier]
    # pairs this near to each other: few of them have a jump between them
    near = (apart >= _PAIR_SEC) & (apart <= 2 * _PAIR_SEC)
    if not np.any(near):
        return None, []
    slope = float(np.median((lags[later] - lags[earlier])[near] / apart[near]))
    leaps = np.diff(lags) - slope * np.diff(time)
    # a drift shows in blocks as stairs
    jumped = np.abs(leaps) > _JUMP_FRAMES + _STAIRS_SEC * abs(slope)
    steps = list(zip(time[1:][jumped].tolist(), leaps[jumped].tolist(), strict=True))
    return slope / rate * 1e6, steps
