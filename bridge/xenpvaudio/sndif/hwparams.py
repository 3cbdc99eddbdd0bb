"""Which configurations a stream may take, and how both ends narrow them to one. Pure; any thread.

XENSND_OP_HW_PARAM_QUERY is a question about a Space: "which of these could you do?". The answer
must be a part of the question that is not empty. Some rules tie parameters together (the buffer's
bytes are frames x channels x width), so a Space, which is a box, cannot show them exactly.
`refine` answers with the smallest box around all combinations that are possible: it never excludes
a possible one, asking again changes nothing, and nothing is left only if nothing is possible.

The backend calls `answer`. The frontend runs `choose`, which fixes one parameter after the other, a
query each. Kernel guests do the same by ALSA's rules: some twenty queries before each OPEN.
"""

from __future__ import annotations

import bisect
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace

from xenpvaudio.errors import ConfigError, PeerProtocolError

from .card import StreamConfig
from .codes import FRAMED_FORMATS, PcmFormat, Status, formats_in, formats_mask
from .config_space import Interval, Space

__all__ = [
    "Config",
    "Interval",
    "Limits",
    "Preferences",
    "Space",
    "answer",
    "choose",
    "from_stream_config",
    "refine",
]

# What the kernel's frontend assumes of every stream (snd_xen_front, default PCM hardware).
MIN_PERIODS = 2
MIN_PERIOD_BYTES = 64

_MAX_U32 = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Limits:
    """The rules of one stream: its configuration and what its host needs."""

    formats: int
    rates: tuple[int, ...] | Interval
    channels: Interval
    buffer_bytes: int
    min_buffer_frames: int = 1
    min_period_bytes: int = MIN_PERIOD_BYTES
    min_period_frames: int = 1
    max_events_per_sec: int = _MAX_U32

    @classmethod
    def of(
        cls,
        config: StreamConfig,
        *,
        host_min_buffer_frames: int = 1,
        min_period_frames: int = 1,
        max_events_per_sec: int = _MAX_U32,
    ) -> Limits:
        """`host_min_buffer_frames`: the shortest buffer that the host can serve without gaps;
        `max_events_per_sec`: how many periods may pass in a second, at the most."""
        return cls(
            formats_mask(config.formats) & FRAMED_FORMATS,
            config.rates,
            config.channels,
            config.buffer_bytes,
            max(1, host_min_buffer_frames),
            min_period_frames=min_period_frames,
            max_events_per_sec=max_events_per_sec,
        )


def rates_within(rates: tuple[int, ...] | Interval, within: Interval) -> Interval:
    """The hull of the allowed rates that lie in `within`; empty if none does. `rates`: ascending, a
    guest may list a thousand, and asks often: they are searched by halves."""
    if isinstance(rates, Interval):
        return rates & within
    first = bisect.bisect_left(rates, within.min)
    end = bisect.bisect_right(rates, within.max)
    return Interval(rates[first], rates[end - 1]) if first < end else Interval(1, 0)


def refine(space: Space, limits: Limits) -> Space | None:
    """The part of `space` that `limits` allow, as the smallest box; None if nothing is left.

    Exact, and cheap: of each sample width only the fewest and the most channels that are possible
    matter, since more bytes a frame only shorten what is longest and what is shortest.
    """
    rates = _rates(space, limits)
    channels = space.channels & limits.channels
    if not rates or not channels or not space.buffer_frames or not space.period_frames:
        return None
    by_width: dict[int, int] = {}
    for fmt in formats_in(space.formats & limits.formats & FRAMED_FORMATS):
        width = fmt.sample_bytes or 0
        by_width[width] = by_width.get(width, 0) | fmt.mask

    formats = 0
    hulls: list[tuple[Interval, Interval, Interval, Interval]] = []
    for width, mask in by_width.items():
        possible = _Possible(space, limits, rates.min, width)
        for count in possible.extremes(channels):
            formats |= mask
            buffer, period = possible.frames(count)
            fastest = min(rates.max, period.max * limits.max_events_per_sec)
            slow = rates_within(limits.rates, Interval(rates.min, fastest))
            hulls.append((slow, Interval(count, count), buffer, period))
    if not hulls:
        return None
    return Space(formats, *(_hull(column) for column in zip(*hulls, strict=True)))


def _rates(space: Space, limits: Limits) -> Interval:
    """The rates that are allowed and that no period asked for would make too fast."""
    fastest = space.period_frames.max * limits.max_events_per_sec
    return rates_within(limits.rates, space.rates & Interval(0, fastest))


@dataclass(frozen=True, slots=True)
class _Possible:
    """What is possible with samples of one width, by the number of channels."""

    space: Space
    limits: Limits
    rate: int  # the lowest that is asked for and allowed: it has the shortest periods
    width: int

    def frames(self, count: int) -> tuple[Interval, Interval]:
        """Buffers and periods that are possible with `count` channels; one is empty if none is."""
        space, limits, frame_bytes = self.space, self.limits, self.width * count
        shortest_period = max(
            1,
            space.period_frames.min,
            limits.min_period_frames,
            -(-limits.min_period_bytes // frame_bytes),
            -(-self.rate // limits.max_events_per_sec),
        )
        shortest = max(
            space.buffer_frames.min, limits.min_buffer_frames, MIN_PERIODS * shortest_period
        )
        longest = min(space.buffer_frames.max, limits.buffer_bytes // frame_bytes)
        period = Interval(shortest_period, min(space.period_frames.max, longest // MIN_PERIODS))
        return Interval(shortest, longest), period

    def allows(self, count: int) -> bool:
        buffer, period = self.frames(count)
        return bool(buffer and period)

    def extremes(self, channels: Interval) -> list[int]:
        """The fewest and the most channels that are possible; none if nothing is.

        From min_period_bytes a frame on, the shortest period stays the same and the longest buffer
        falls: what is possible there ends at one count, which is searched by halves. Below that
        each count is tried, as few as there are.
        """
        if not channels:
            return []
        first = -(-self.limits.min_period_bytes // self.width)
        large = range(max(first, channels.min), channels.max + 1)
        small = range(channels.min, min(first, channels.max + 1))
        ended = bisect.bisect_left(large, True, key=lambda count: not self.allows(count))
        found = [count for count in small if self.allows(count)]
        if ended:
            found += [large[0], large[ended - 1]]
        return sorted({found[0], found[-1]}) if found else []


def _hull(parts: Iterable[Interval]) -> Interval:
    intervals = list(parts)
    return Interval(min(part.min for part in intervals), max(part.max for part in intervals))


def from_stream_config(config: StreamConfig, *, host_min_buffer_frames: int = 1) -> Space:
    """Everything that `config` allows. ConfigError if that is nothing."""
    limits = Limits.of(config, host_min_buffer_frames=host_min_buffer_frames)
    every = Interval(1, _MAX_U32)
    space = refine(Space(limits.formats, every, config.channels, every, every), limits)
    if space is None:
        raise ConfigError(
            f"stream {config.path}: no configuration is possible "
            f"(formats {','.join(f.xenstore_name for f in config.formats)}, {config.channels} "
            f"channels, buffer-size {config.buffer_bytes})",
            hint="allow a PCM format that has frames, or a larger buffer-size",
        )
    return space


def answer(
    query: Space,
    config: StreamConfig,
    host_min_buffer_frames: int = 1,
    *,
    min_period_frames: int = 1,
    max_events_per_sec: int = _MAX_U32,
) -> Space | Status:
    """The backend's answer to a query: a part of it that is not empty, or a status for none.

    Nothing is remembered and no host device is touched: a guest may ask at any time, as often as it
    likes, and OPEN is checked from zero (pcm.validate_open).
    """
    limits = Limits.of(
        config,
        host_min_buffer_frames=host_min_buffer_frames,
        min_period_frames=min_period_frames,
        max_events_per_sec=max_events_per_sec,
    )
    return refine(query, limits) or Status.EINVAL


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a frontend would like, best first; values out of reach become the nearest possible."""

    formats: Sequence[PcmFormat] = (
        PcmFormat.F32_LE,
        PcmFormat.S32_LE,
        PcmFormat.S24_LE,
        PcmFormat.S16_LE,
    )
    rate: int = 48000
    channels: int = 2
    period_frames: int = 256
    buffer_frames: int = 4096


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration, ready for OPEN."""

    format: PcmFormat
    rate: int
    channels: int
    period_frames: int
    buffer_frames: int

    @property
    def frame_bytes(self) -> int:
        return (self.format.sample_bytes or 0) * self.channels

    @property
    def period_bytes(self) -> int:
        return self.period_frames * self.frame_bytes

    @property
    def buffer_bytes(self) -> int:
        return self.buffer_frames * self.frame_bytes


def choose(
    limits: Limits, preferences: Preferences, start: Space | None = None
) -> Generator[Space, Space | None, Config]:
    """Narrows to one Config. Yields each query; send its answer, or None if it was refused.

    The first query asks about everything (or about `start`). Then format, rate, channels, period
    and buffer are fixed in turn; a refused value is followed by the next best one. Any part of a
    query that is not empty is accepted, so a backend that echoes (snd_be with PulseAudio) will do;
    our own `limits` are then all that narrows. For a backend without queries, send each query back.
    PeerProtocolError: an answer that is empty or outside of its query. ConfigError: the backend
    takes nothing that `limits` allow.
    """
    every = Interval(1, _MAX_U32)
    whole = start or Space(limits.formats, every, limits.channels, every, every)
    space = yield from _narrow([whole], limits, "configuration")
    formats = _formats_by_preference(space, preferences)
    space = yield from _narrow(
        [replace(space, formats=fmt.mask) for fmt in formats], limits, "sample format"
    )
    rates = _rates_by_preference(space, limits, preferences.rate)
    space = yield from _narrow(
        [replace(space, rates=Interval(rate, rate)) for rate in rates], limits, "rate"
    )
    counts = _by_distance(range(space.channels.min, space.channels.max + 1), preferences.channels)
    space = yield from _narrow(
        [replace(space, channels=Interval(count, count)) for count in counts], limits, "channels"
    )
    periods = _near(space.period_frames, preferences.period_frames)
    space = yield from _narrow(
        [replace(space, period_frames=Interval(n, n)) for n in periods], limits, "period"
    )
    buffers = _near(space.buffer_frames, preferences.buffer_frames)
    space = yield from _narrow(
        [replace(space, buffer_frames=Interval(n, n)) for n in buffers], limits, "buffer"
    )
    return Config(
        next(formats_in(space.formats)),
        space.rates.min,
        space.channels.min,
        space.period_frames.min,
        space.buffer_frames.min,
    )


def _narrow(
    candidates: Sequence[Space], limits: Limits, what: str
) -> Generator[Space, Space | None, Space]:
    """Asks for one candidate after the other until one is granted."""
    for candidate in candidates:
        query = refine(candidate, limits)
        if query is None:
            continue
        granted = yield query
        if granted is None:
            continue
        if not granted or not query.covers(granted):
            raise PeerProtocolError(f"the answer {granted} is no part of the query {query}")
        narrowed = refine(granted, limits)
        if narrowed is not None:
            return narrowed
    raise ConfigError(
        f"the backend accepts no {what} that this stream is configured for",
        hint="compare the stream's XenStore nodes with what the host can play",
    )


def _formats_by_preference(space: Space, preferences: Preferences) -> list[PcmFormat]:
    order = list(preferences.formats)
    return sorted(
        formats_in(space.formats),
        key=lambda fmt: order.index(fmt) if fmt in order else len(order) + fmt,
    )


def _rates_by_preference(space: Space, limits: Limits, wanted: int) -> list[int]:
    if isinstance(limits.rates, Interval):
        return _near(space.rates & limits.rates, wanted)
    return _by_distance([rate for rate in limits.rates if rate in space.rates], wanted)


def _by_distance(numbers: Iterable[int], wanted: int) -> list[int]:
    """Nearest first; of two as near, the larger."""
    return sorted(numbers, key=lambda number: (abs(number - wanted), -number))


def _near(interval: Interval, wanted: int) -> list[int]:
    """The nearest value, then the ends: a few attempts, however wide the interval is."""
    return list(dict.fromkeys((interval.nearest(wanted), interval.max, interval.min)))
