"""A rate that has nothing in common with the host's is not the host's to compute filters for."""

from __future__ import annotations

import shutil
import time

import pytest

from hostile import header
from hostile.guest import Card
from hostile.stage import Stage
from xenpvaudio.backend.resampling import resampler_bytes
from xenpvaudio.testbed.testbed import card_nodes

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

ODD = 191999  # its filter has 47 MiB
PAGES = 16
BEGINS_SEC = 20.0
ANY_RATE = card_nodes(rates=(48000, ODD), capture=False)


def opened(stage: Stage, rate: int) -> int:
    """The status of a playback stream's OPEN at that rate; it plays, if it may."""
    (stream,) = Card(stage.sim, stage.guest(ANY_RATE)).connect("0/0")
    directory, view = stream.share(PAGES)
    shape = {"rate": rate, "buffer_bytes": len(view), "period_bytes": len(view) // 4}
    status, _ = stream.ask(header.OPEN, header.open_body(directory, **shape))
    if status == 0:
        stream.ask(header.WRITE, header.RW_REQ.pack(0, len(view)))
        stream.ask(header.TRIGGER, header.TRIGGER_REQ.pack(header.START))
    return status


def grown_mib(stage: Stage, before: float, at_least: float) -> float:
    """How much the backend's memory has grown, as soon as it is so much."""
    end = time.monotonic() + BEGINS_SEC
    while (found := stage.process().rss_mib - before) < at_least and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_an_odd_rate_is_refused_and_says_why() -> None:
    with Stage() as stage:
        assert opened(stage, 48000) == 0
        assert opened(stage, ODD) != 0
        assert "raise max-resampler-bytes in the policy file" in stage.log.read_text()


def test_without_the_ceiling_an_odd_rate_takes_as_much_memory_as_was_computed() -> None:
    with Stage(f"[default]\nmax-resampler-bytes = {1 << 30}\n") as stage:
        assert opened(stage, 48000) == 0
        time.sleep(1.0)
        before = stage.process().rss_mib
        assert opened(stage, ODD) == 0
        computed = resampler_bytes(ODD) / (1 << 20)
        grown = grown_mib(stage, before, 0.85 * computed)
        assert 0.85 * computed <= grown < 1.4 * computed, f"{grown} MiB"
