"""What a stream's node offers to the graph: of what backend and configuration allow, what PipeWire
converts, best first."""

from __future__ import annotations

from xenpvaudio.config import FrontendSettings
from xenpvaudio.errors import ConfigError
from xenpvaudio.sndif.card import StreamConfig
from xenpvaudio.sndif.codes import formats_in
from xenpvaudio.sndif.config_space import Interval, Space
from xenpvaudio.sndif.hwparams import Limits, Preferences
from xenpvaudio_native.pipewire import Offer, supports_format

# Common rates among which a backend that allows an interval is offered to the graph.
COMMON_RATES = (48000, 44100, 96000, 88200, 192000, 176400, 64000, 32000, 24000, 22050, 16000, 8000)
# Channel counts that have positions; others are offered only where none of these is possible.
LAYOUTS = (2, 1, 4, 6, 8)
# What PipeWire has positions for (SPA_AUDIO_MAX_CHANNELS).
MAX_CHANNELS = 64


def make_offer(config: StreamConfig, space: Space, settings: FrontendSettings, where: str) -> Offer:
    """ConfigError, beginning with `where`, if PipeWire can do none of it."""
    limits = Limits.of(config)
    preferred = Preferences().formats
    formats = [fmt for fmt in formats_in(space.formats) if supports_format(fmt)]
    formats.sort(key=lambda fmt: preferred.index(fmt) if fmt in preferred else 99 + fmt)
    if isinstance(limits.rates, Interval):
        rates = [rate for rate in COMMON_RATES if rate in space.rates] or [space.rates.max]
    else:
        rates = [rate for rate in limits.rates if rate in space.rates]
    rates.sort(key=lambda rate: (abs(rate - settings.rate), -rate))
    channels = [count for count in LAYOUTS if count in space.channels] or [space.channels.min]
    channels.sort(key=lambda count: abs(count - settings.channels))
    if channels[0] > MAX_CHANNELS:
        raise ConfigError(
            f"{where}: {channels[0]} channels at least, PipeWire has {MAX_CHANNELS}",
            hint="lower channels-min",
        )
    if not formats:
        raise ConfigError(
            f"{where}: PipeWire converts none of the formats that the backend allows",
            hint="add s16_le, s32_le or float_le to sample-formats",
        )
    return Offer(formats, rates, channels)
