"""Holds one guest to what the host's policy lets it have: every ceiling is compared here. Pure; the
event loop's thread.

The numbers, with their defaults, are config.DomainPolicy; what is refused is one line that names
the value, the limit and the key that raises it. A card is checked when it is read, and OPEN from
zero, since a guest may do without queries and may rewrite its card at any time.

What a guest can make this process hold, at most:

- a connected stream: two mapped ring pages and some kilobytes; `max-streams` of all its cards;
- an open stream: its mapped buffer (`max-buffer-bytes`) and a store behind it (`max-store-bytes`),
  a second store while one is being replaced;
- its resampler in PipeWire (`max-resampler-bytes`), or a virtual device: what memory_bytes() of
  outputs.py says;
- all of that, of all its streams together: `max-memory-bytes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xenpvaudio.config import DomainPolicy
from xenpvaudio.errors import ConfigError
from xenpvaudio.sndif.card import Card, StreamConfig
from xenpvaudio.sndif.config_space import Interval
from xenpvaudio.sndif.hwparams import Config

from .resampling import resampler_bytes

HOST_RATE = 48000


class CeilingError(ConfigError):
    """A guest wants more than the policy lets it have; `key`: the policy's."""

    def __init__(self, message: str, key: str, change: str = "raise") -> None:
        super().__init__(message, hint=f"{change} {key} in the policy file")
        self.key = key


def _too_much(what: str, number: int, limit: int, key: str) -> CeilingError:
    return CeilingError(f"{what} {number} is more than the policy allows, {limit}", key)


def _too_little(what: str, number: int, limit: int, key: str) -> CeilingError:
    return CeilingError(f"{what} {number} is less than the policy allows, {limit}", key, "lower")


def check_card(card: Card, policy: DomainPolicy, where: str) -> None:
    """ConfigError for the first stream that could ask for more than it may have."""
    for stream in card.streams:
        rate = highest_rate(stream)
        name = f"{where}/{stream.path}:"
        if rate > policy.max_rate:
            raise _too_much(f"{name} sample rate", rate, policy.max_rate, "max-rate")
        channels = stream.channels.max
        if channels > policy.max_channels:
            raise _too_much(f"{name} channels-max", channels, policy.max_channels, "max-channels")


def least_period_frames(rate: int, policy: DomainPolicy) -> int:
    """The shortest period with position events at this rate."""
    return max(policy.min_period_frames, -(-rate // policy.max_events_per_sec))


def check_open(config: Config, policy: DomainPolicy) -> None:
    """ConfigError if OPEN asks for a shape that the guest may not have. `config` was checked
    against the stream's card; a period of 0 has no events."""
    if config.rate > policy.max_rate:
        raise _too_much("sample rate", config.rate, policy.max_rate, "max-rate")
    if config.channels > policy.max_channels:
        raise _too_much("channels", config.channels, policy.max_channels, "max-channels")
    if config.buffer_bytes > policy.max_buffer_bytes:
        limit = policy.max_buffer_bytes
        raise _too_much("bytes of the buffer:", config.buffer_bytes, limit, "max-buffer-bytes")
    period = config.period_frames
    if 0 < period < policy.min_period_frames:
        limit = policy.min_period_frames
        raise _too_little("frames of the period:", period, limit, "min-period-frames")
    if period and config.rate > period * policy.max_events_per_sec:
        limit = policy.max_events_per_sec
        raise _too_much(
            "position events a second:", events_per_sec(config), limit, "max-events-per-sec"
        )


def check_resampler(rate: int, policy: DomainPolicy) -> None:
    """ConfigError if the host's PipeWire had to work too much to bring that rate to its own."""
    needed, limit = resampler_bytes(rate), policy.max_resampler_bytes
    if needed > limit:
        what = f"sample rate {rate}: bytes of PipeWire's resampler for it:"
        raise _too_much(what, needed, limit, "max-resampler-bytes")


def store_bytes(config: Config, *, capture: bool) -> int:
    """What xpa_back_open() allocates for a stream (pw_module/src/back/life.c)."""
    frames = config.buffer_frames + 2 * config.period_frames + 64
    if capture:
        frames += config.rate // 4
    return frames * config.frame_bytes


def quantum_frames(wanted_frames: int, rate: int, policy: DomainPolicy) -> int:
    """A guest's wish for the host's quantum, in frames of its own rate, within the policy."""
    return max(wanted_frames, -(-policy.min_quantum_frames * rate // HOST_RATE))


def events_per_sec(config: Config) -> int:
    """How many position events a stream has; without a period it has none."""
    return -(-config.rate // config.period_frames) if config.period_frames else 0


def tick_frames(wanted_frames: int, rate: int, policy: DomainPolicy) -> int:
    """The quantum of a virtual device, whose timer a guest's rate would otherwise drive: it ticks
    no more often than at the host's rate, nor than the policy lets events come."""
    as_long_frames = wanted_frames * rate // HOST_RATE
    return max(wanted_frames, as_long_frames, -(-rate // policy.max_events_per_sec))


def highest_rate(stream: StreamConfig) -> int:
    """That its card allows."""
    return stream.rates.max if isinstance(stream.rates, Interval) else max(stream.rates)


def most_need_frames(stream: StreamConfig) -> int:
    """What a host may be said to need: never more than half of what the guest's buffer can be, for
    a stream that may crackle beats none."""
    sample_bytes = max((fmt.sample_bytes or 1 for fmt in stream.formats), default=1)
    return max(1, stream.buffer_bytes // (stream.channels.max * sample_bytes) // 2)


def limited_buffer_bytes(stream: StreamConfig, policy: DomainPolicy) -> int:
    """What queries of this stream are answered by."""
    return min(stream.buffer_bytes, policy.max_buffer_bytes)


def _with_others(used: Mapping[object, int], stream: object, own: int) -> int:
    return own + sum(number for other, number in used.items() if other is not stream)


@dataclass(slots=True)
class Usage:
    """What all cards and streams of one guest use together."""

    streams: dict[str, int] = field(default_factory=dict)  # of each connected card
    memory_bytes: dict[object, int] = field(default_factory=dict)  # of each open stream
    events_per_sec: dict[object, int] = field(default_factory=dict)  # likewise
    samples_per_sec: dict[object, int] = field(default_factory=dict)
    met: dict[str, int] = field(default_factory=dict)  # ceilings by their keys, and how often

    def note(self, error: ConfigError) -> None:
        """Something was refused."""
        if isinstance(error, CeilingError):
            self.met[error.key] = self.met.get(error.key, 0) + 1

    def check_card(self, devid: str, streams: int, policy: DomainPolicy, where: str) -> None:
        """ConfigError if this guest has cards or streams enough without this one."""
        others = [count for other, count in self.streams.items() if other != devid]
        if len(others) + 1 > policy.max_cards:
            raise _too_much(f"{where}: cards", len(others) + 1, policy.max_cards, "max-cards")
        total = streams + sum(others)
        if total > policy.max_streams:
            beside = f" ({total} with its other cards)" if others else ""
            raise CeilingError(
                f"{where} has {streams} streams{beside}, policy allows {policy.max_streams}",
                "max-streams",
            )

    def add_memory(
        self, stream: object, config: Config, device_bytes: int, policy: DomainPolicy, capture: bool
    ) -> None:
        """An OPEN: its buffer, its store and its virtual device. ConfigError, and nothing is
        added, if that is too much; what the stream held before no longer counts."""
        store = store_bytes(config, capture=capture)
        if store > policy.max_store_bytes:
            raise _too_much("bytes behind it:", store, policy.max_store_bytes, "max-store-bytes")
        own = config.buffer_bytes + store + device_bytes
        total = _with_others(self.memory_bytes, stream, own)
        if total > policy.max_memory_bytes:
            limit = policy.max_memory_bytes
            raise _too_much("bytes of all streams:", total, limit, "max-memory-bytes")
        self.memory_bytes[stream] = own

    def add_load(self, stream: object, config: Config, policy: DomainPolicy) -> None:
        """An OPEN: its position events, and its samples, which the host converts to its own rate.
        ConfigError, and nothing is added, if that is too much."""
        events = _with_others(self.events_per_sec, stream, events_per_sec(config))
        limit, key = policy.max_all_events_per_sec, "max-all-events-per-sec"
        if events > limit:
            raise _too_much("position events a second of all streams:", events, limit, key)
        own = config.channels * max(config.rate, HOST_RATE)
        samples = _with_others(self.samples_per_sec, stream, own)
        limit, key = policy.max_samples_per_sec, "max-samples-per-sec"
        if samples > limit:
            raise _too_much("samples a second of all streams:", samples, limit, key)
        self.events_per_sec[stream] = events_per_sec(config)
        self.samples_per_sec[stream] = own

    def drop(self, stream: object) -> None:
        """It is closed."""
        self.memory_bytes.pop(stream, None)
        self.events_per_sec.pop(stream, None)
        self.samples_per_sec.pop(stream, None)
