"""How far ahead of the heard position a stream begins; the data loop corrects it by what the
backend's positions say."""

from __future__ import annotations

from xenpvaudio.config import FrontendSettings
from xenpvaudio.sndif.codes import Direction
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio_native.plane import margin_frames


def first_lead_frames(
    config: Config, direction: Direction, settings: FrontendSettings, host_need_frames: int
) -> int:
    """The host's need, or what is set. A captured frame waits until the period's event has surely
    brought it."""
    if direction is Direction.CAPTURE:
        margin = margin_frames(config.rate, config.period_frames, capture=True)
        return config.period_frames + margin
    if chosen_frames := least_lead_frames(config, settings):
        return chosen_frames
    return min(max(host_need_frames, config.period_frames), config.buffer_frames // 2)


def least_lead_frames(config: Config, settings: FrontendSettings) -> int:
    """What is set, for as long as the stream is open; 0: as the host needs. For playback only."""
    return min(settings.lead_frames, config.buffer_frames // 2)
