"""Where a known noise is found in a recording, to a fraction of a frame, block by block. Pure.

`lag` is the recorded frame number minus the sent one. A block's lag is searched near the one
before it, or everywhere if it is not there: first the highest correlation, then what is left from
the slope of the cross spectrum's phase. Where the lag of blocks jumps, frames were skipped or
repeated: the very frame is the one at which the two explanations together leave the least. Needs
numpy: import it after extras.require().
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK_FRAMES = 2048
_HOP_FRAMES = BLOCK_FRAMES // 2
_REACH_FRAMES = 4 * BLOCK_FRAMES
_MARGIN_FRAMES = 64
# The highest of 2^20 values of noise is at about 5 times their RMS.
_CERTAIN = 9.0
# A block of which part has another lag explains less than its neighbours.
_WHOLE = 0.95
_AROUND_BLOCKS = 12
# What neighbouring blocks may differ by without a step: 500 ppm, and a little. With enough blocks
# before it the drift is known.
_STEP_FRAMES = 0.6
_MAX_DRIFT = 600e-6
_TREND_BLOCKS = 6


@dataclass(frozen=True, slots=True)
class Block:
    """`frame`: its middle in the recording; `likeness`: 0 to 1, 1 is a perfect copy."""

    frame: float
    lag: float
    likeness: float


@dataclass(frozen=True, slots=True)
class Step:
    """From recorded frame `frame` on the lag is larger by `frames`: repeated, silence put in, or
    (negative) skipped."""

    frame: int
    frames: float


def _spectrum_size(frames: int) -> int:
    return 1 << max(frames - 1, 1).bit_length()


def _usual(likeness: Floats) -> Floats:
    """The median around each: a stretch that was resampled lacks some treble all along."""
    if not len(likeness):
        return likeness
    around = np.pad(likeness, _AROUND_BLOCKS, "symmetric" if len(likeness) > 1 else "edge")
    windows = np.lib.stride_tricks.sliding_window_view(around, 2 * _AROUND_BLOCKS + 1)
    usual: Floats = np.median(windows, axis=-1)
    return usual


class DelayTrack:
    """The lag of `received` behind `sent` over the whole recording; both are one channel."""

    def __init__(self, sent: Floats, received: Floats) -> None:
        self._sent = np.asarray(sent, dtype=np.float64)
        self._received = np.asarray(received, dtype=np.float64)
        self._size = _spectrum_size(len(self._sent) + BLOCK_FRAMES)
        self._sent_spectrum = np.fft.rfft(self._sent, self._size)
        found = self._search()
        usual = _usual(np.array([block.likeness for block in found]))
        self.blocks = [b for b, u in zip(found, usual, strict=True) if b.likeness >= _WHOLE * u]
        self.steps: list[Step] = []
        self._pieces: list[tuple[float, Floats, Floats]] = []  # from frame on: centres, lags
        self._divide()

    # -- lags of blocks

    def _search(self) -> list[Block]:
        found: list[Block] = []
        floor = 1e-4 * float(np.sqrt(np.mean(self._sent**2))) if len(self._sent) else 0.0
        for start in range(0, len(self._received) - BLOCK_FRAMES + 1, _HOP_FRAMES):
            block = self._received[start : start + BLOCK_FRAMES]
            if float(np.sqrt(np.mean(block**2))) <= floor:
                continue
            near = self._near(block, start, found[-1].lag) if found else None
            if near is None:
                near = self._anywhere(block, start)
            if near is not None:
                lag, likeness = self._refine(block, start, near)
                found.append(Block(start + BLOCK_FRAMES / 2, lag, likeness))
        return found

    def _near(self, block: Floats, start: int, lag: float) -> int | None:
        first = start - round(lag) - _REACH_FRAMES
        around = self._piece(first, BLOCK_FRAMES + 2 * _REACH_FRAMES)
        size = _spectrum_size(len(around) + BLOCK_FRAMES)
        spectrum = np.fft.rfft(around, size) * np.conj(np.fft.rfft(block, size))
        values = np.fft.irfft(spectrum, size)[: 2 * _REACH_FRAMES + 1]
        best = _certain_peak(values)
        return None if best is None else start - (first + best)

    def _anywhere(self, block: Floats, start: int) -> int | None:
        spectrum = self._sent_spectrum * np.conj(np.fft.rfft(block, self._size))
        values = np.fft.irfft(spectrum, self._size)
        best = _certain_peak(values)
        if best is None:
            return None
        return start - (best if best < len(self._sent) else best - self._size)

    def _piece(self, first: int, frames: int) -> Floats:
        """Sent frames from `first` on, with silence where there are none."""
        piece = np.zeros(frames)
        a, b = max(first, 0), min(first + frames, len(self._sent))
        if a < b:
            piece[a - first : b - first] = self._sent[a:b]
        return piece

    def _expected(self, start: int, frames: int, lag: float) -> Floats:
        """What recorded frames from `start` on would be with this lag, between frames too."""
        whole = round(lag)
        wide = self._piece(start - whole - _MARGIN_FRAMES, frames + 2 * _MARGIN_FRAMES)
        if lag != whole:
            size = _spectrum_size(len(wide))
            turn = np.exp(-2j * np.pi * np.fft.rfftfreq(size) * (lag - whole))
            wide = np.fft.irfft(np.fft.rfft(wide, size) * turn, size)
        return wide[_MARGIN_FRAMES : _MARGIN_FRAMES + frames]

    def _refine(self, block: Floats, start: int, lag: float) -> tuple[float, float]:
        """(lag, likeness). The phase of the cross spectrum falls by 2 pi f times what is left."""
        window = np.hanning(len(block))
        frequency = np.fft.rfftfreq(len(block))
        band = frequency < 0.4  # resamplers take away what is above
        spectrum = np.fft.rfft(block * window)[band]
        for _ in range(3):
            expected = self._expected(start, len(block), lag)
            cross = spectrum * np.conj(np.fft.rfft(expected * window)[band])
            weight = np.abs(cross) * frequency[band] ** 2
            slope = np.angle(cross) * np.abs(cross) * frequency[band]
            lag -= float(np.sum(slope) / max(np.sum(weight), 1e-30) / (2 * np.pi))
        expected = self._expected(start, len(block), lag)
        energy = float(np.sum(block**2) * np.sum(expected**2))
        return lag, float(np.sum(block * expected)) / max(energy, 1e-30) ** 0.5

    # -- steps, and the pieces between them

    def _divide(self) -> None:
        group: list[Block] = []
        began = 0.0
        for block in self.blocks:
            if group and self._jumps(group, block):
                step = self._locate(group[-1], block)
                self._close(began, group)
                self.steps.append(step)
                began, group = float(step.frame), []
            group.append(block)
        if group:
            self._close(began, group)

    @staticmethod
    def _jumps(group: list[Block], block: Block) -> bool:
        """Whether `block` is off the line through the last ones; drift alone is no step."""
        recent = group[-_TREND_BLOCKS:]
        since = block.frame - recent[-1].frame
        if len(recent) < _TREND_BLOCKS:
            allowed, expected = _STEP_FRAMES + _MAX_DRIFT * (since - _HOP_FRAMES), recent[-1].lag
        else:
            trend = (recent[-1].lag - recent[0].lag) / (recent[-1].frame - recent[0].frame)
            allowed, expected = _STEP_FRAMES, recent[-1].lag + trend * since
        return abs(block.lag - expected) > allowed

    def _locate(self, a: Block, b: Block) -> Step:
        start, end = int(a.frame), max(int(b.frame), int(a.frame) + 1)
        heard = self._received[start:end]
        before = self._expected(start, len(heard), a.lag)
        after = self._expected(start, len(heard), b.lag)
        gain = float(np.sum(heard * (before + after))) / max(
            float(np.sum(before**2) + np.sum(after**2)) / 2, 1e-30
        )
        left = np.concatenate(([0.0], np.cumsum((heard - gain * before) ** 2)))
        right = np.concatenate(([0.0], np.cumsum((heard - gain * after) ** 2)))
        return Step(start + int(np.argmin(left + right[-1] - right)), b.lag - a.lag)

    def _close(self, began: float, group: list[Block]) -> None:
        centres = np.array([block.frame for block in group])
        self._pieces.append((began, centres, np.array([block.lag for block in group])))

    # -- results

    def lag_at(self, frames: Floats) -> Floats:
        """The lag at recorded frames; NaN where nothing of the noise was found near."""
        lags = np.full(len(frames), np.nan)
        ends = [began for began, _, _ in self._pieces[1:]] + [np.inf]
        for (began, centres, values), end in zip(self._pieces, ends, strict=True):
            after = np.searchsorted(centres, frames)
            away = np.minimum(
                np.abs(frames - centres[np.clip(after - 1, 0, len(centres) - 1)]),
                np.abs(frames - centres[np.clip(after, 0, len(centres) - 1)]),
            )
            here = (frames >= began) & (frames < end) & (away <= 2 * BLOCK_FRAMES)
            lags[here] = np.interp(frames[here], centres, values)
        return lags

    def drift_ppm(self, first_frame: float = 0.0) -> float:
        """How fast the lag grows, steps left out, from recorded frame `first_frame` on."""
        top = bottom = 0.0
        for _, centres, lags in self._pieces:
            kept = centres >= first_frame
            if np.count_nonzero(kept) >= 2:
                x = centres[kept] - np.mean(centres[kept])
                top += float(np.sum(x * lags[kept]))
                bottom += float(np.sum(x * x))
        return 1e6 * top / bottom if bottom else 0.0


def _certain_peak(values: Floats) -> int | None:
    best = int(np.argmax(values))
    rms = float(np.sqrt(np.mean(values**2)))
    return best if values[best] > _CERTAIN * max(rms, 1e-30) else None
