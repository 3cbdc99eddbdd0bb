"""A policy that lets a guest have more than PipeWire's converter can count costs no backend."""

from __future__ import annotations

import shutil

import pytest

from .stage import Stage

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

# 64 buffers of it are 4 GiB, which audioconvert counts in 32 bits.
SAMPLES_PER_SEC = 32 * 768000


def test_a_rate_and_channels_that_overflow_the_converter_end_nobody() -> None:
    with Stage(f"[default]\nmax-samples-per-sec = {SAMPLES_PER_SEC}\n") as stage:
        assert stage.attack("most channels at 768 kHz", 1.0) > 0
        assert "768000 Hz 32 channels" in stage.log.read_text()
        stage.process()  # it is there
