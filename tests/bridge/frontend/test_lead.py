"""How far ahead of the heard position a stream begins."""

from __future__ import annotations

import pytest

from xenpvaudio.config import FrontendSettings
from xenpvaudio.frontend.lead import first_lead_frames, least_lead_frames
from xenpvaudio.sndif.codes import Direction, PcmFormat
from xenpvaudio.sndif.hwparams import Config


def config(period: int) -> Config:
    return Config(PcmFormat.S16_LE, 48000, 2, period, 8192)


@pytest.mark.parametrize(("period", "lead"), [(64, 184), (256, 376), (512, 640), (1024, 1280)])
def test_captured_frames_wait_a_quarter_period_or_2_5_ms_for_their_event(
    period: int, lead: int
) -> None:
    found = first_lead_frames(config(period), Direction.CAPTURE, FrontendSettings(), 0)
    assert found == lead


@pytest.mark.parametrize(
    ("need", "set_frames", "lead"),
    [(0, 0, 512), (2000, 0, 2000), (9000, 0, 4096), (2000, 700, 700), (0, 9000, 4096)],
)
def test_a_playback_stream_begins_with_what_the_host_needs_or_what_is_set(
    need: int, set_frames: int, lead: int
) -> None:
    """Never with more than half of the buffer, nor, unless it is set, less than a period."""
    settings = FrontendSettings(lead_frames=set_frames)
    assert first_lead_frames(config(512), Direction.PLAYBACK, settings, need) == lead
    assert least_lead_frames(config(512), settings) == (lead if set_frames else 0)
