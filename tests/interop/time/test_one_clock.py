"""Sink and source of one card are of one clock.

Measured as `xen-pv-audio latency` measures, on its simulated set-up.
"""

from __future__ import annotations

import pytest

pytest.importorskip("numpy")
import numpy as np

from interop.duplex import duplex
from xenpvaudio.measure.correlate import DelayTrack
from xenpvaudio.measure.latency import RATE, simulated
from xenpvaudio.testbed.noise_player import PEAK, noise
from xenpvaudio.testbed.testbed import SINK, SOURCE


def test_sink_and_source_publish_the_same_clock() -> None:
    with simulated("loopback,delay=40ms", 1024) as (_, bed):
        names = [(bed.node(name) or {}).get("xenpv.clock.name") for name in (SINK, SOURCE)]
    assert names == ["xenpv.0.0"] * 2


@pytest.mark.parametrize("ppm", [0, -200])
def test_a_duplex_client_gets_its_samples_back_bit_by_bit(ppm: int) -> None:
    """So neither direction is resampled, though the device's clock is not this machine's."""
    seconds = 4.0
    sent = np.array(noise(round(seconds * RATE), 1, peak=PEAK), dtype=np.float32)
    run = duplex(f"loopback,delay=40ms,gain=0dB,ppm={ppm}", seconds, 1024)
    captured = np.array(run.captured, dtype=np.float32) / 2  # the sum of two channels
    track = DelayTrack(sent.astype(np.float64), captured.astype(np.float64))
    assert track.blocks
    equal = 0
    for block in track.blocks:
        assert block.lag == pytest.approx(round(block.lag), abs=0.001)
        frame, lag = int(block.frame), round(block.lag)
        here = slice(max(frame - 512, lag), frame + 512)
        there = slice(here.start - lag, here.stop - lag)
        equal += np.array_equal(captured[here], sent[there])
    # but for blocks with a step in them, where a stalled machine put silence
    assert equal >= len(track.blocks) - 3 * len(track.steps) - 2
