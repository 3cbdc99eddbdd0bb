"""Interval and Space: what a stream may still become, as XENSND_OP_HW_PARAM_QUERY tells it. Pure.

Plain values without rules; the rules that narrow them are in sndif/hwparams.py, the packets that
carry them in sndif/packets.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from .codes import formats_in


@dataclass(frozen=True, slots=True)
class Interval:
    """Whole numbers from `min` to `max`, both included; none if min > max."""

    min: int
    max: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.min <= number <= self.max

    def __bool__(self) -> bool:
        return self.min <= self.max

    def __and__(self, other: Interval) -> Interval:
        return Interval(max(self.min, other.min), min(self.max, other.max))

    def covers(self, other: Interval) -> bool:
        """Whether every number of `other` is in here."""
        return not other or (self.min <= other.min and other.max <= self.max)

    def nearest(self, number: int) -> int:
        """The number in here that is nearest to `number`."""
        return min(max(number, self.min), self.max)

    def __str__(self) -> str:
        return str(self.min) if self.min == self.max else f"{self.min}..{self.max}"


@dataclass(frozen=True, slots=True)
class Space:
    """struct xensnd_query_hw_param: what a stream may still become. Buffer and period in frames."""

    formats: int
    rates: Interval
    channels: Interval
    buffer_frames: Interval
    period_frames: Interval

    def __bool__(self) -> bool:
        """Whether each parameter has a value left."""
        intervals = (self.rates, self.channels, self.buffer_frames, self.period_frames)
        return bool(self.formats) and all(intervals)

    def covers(self, other: Space) -> bool:
        """Whether every combination of `other` is in here."""
        return (
            not other.formats & ~self.formats
            and self.rates.covers(other.rates)
            and self.channels.covers(other.channels)
            and self.buffer_frames.covers(other.buffer_frames)
            and self.period_frames.covers(other.period_frames)
        )

    def __str__(self) -> str:
        names = ",".join(fmt.xenstore_name for fmt in formats_in(self.formats)) or "no format"
        return (
            f"{names} {self.rates} Hz {self.channels} channels "
            f"buffer {self.buffer_frames} period {self.period_frames} frames"
        )
