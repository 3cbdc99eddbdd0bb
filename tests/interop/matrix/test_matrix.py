"""Each kind of guest, and each kind of host: every frame arrives once and in order, both ways, and
a program is told when its sound is heard, or was said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from interop.alsa.bed import PLUGIN
from interop.matrix import guests, hosts
from interop.matrix.cell import line, measure
from interop.sound import assert_whole

PAIRS = (("pipewire", "pipewire"), ("alsa", "pulse"), ("pulse", "alsa"))
TRUE_MS = 1.0
# A PulseAudio daemon takes the time before the host is heard for a slower clock, and its line
# (pulsecore/time-smoother.c) forgets that in ten seconds: longer than is played here.
SMOOTHED_MS = {"playback": 40.0, "capture": 2.0}

pytestmark = [
    pytest.mark.skipif(shutil.which("aplay") is None, reason="no alsa-utils"),
    pytest.mark.skipif(shutil.which("paplay") is None, reason="no pulseaudio-utils"),
    pytest.mark.skipif(not PLUGIN.exists(), reason="built without libasound2-dev"),
]


def test_all_kinds_are_tried() -> None:
    assert {guest for guest, _ in PAIRS} == set(guests.KINDS)
    assert {host for _, host in PAIRS} == set(hosts.KINDS)


# Each guest and each host once; all nine: python -m interop.matrix
@pytest.mark.parametrize(("guest", "host"), PAIRS)
def test_sound_is_whole_and_its_time_is_true(guest: str, host: str, tmp_path: Path) -> None:
    for cell in measure(guest, host, tmp_path):
        print(line(cell))
        assert_whole(cell.frames)
        most_ms = SMOOTHED_MS[cell.way] if guest == "pulse" else TRUE_MS
        assert abs(cell.error_ms) < most_ms, line(cell)
