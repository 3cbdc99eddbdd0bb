"""A guest with a real PulseAudio daemon on the plugin: paplay and parec, each frame once, suspend
on idle, and the latency that a client reads."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.alsa.bed import PLUGIN, AlsaBed, alsa_bed, s16
from interop.alsa.pulse import NoPulseAudioError, PulseAudio
from interop.sound import LIMIT_SEC, RATE, assert_whole, eventually, noise, write_noise
from xenpvaudio.sound.compare import compare

pytestmark = [
    pytest.mark.skipif(shutil.which("paplay") is None, reason="no pulseaudio-utils"),
    pytest.mark.skipif(not PLUGIN.exists(), reason="built without libasound2-dev"),
]

FRAME_BYTES = 4


@pytest.fixture(scope="module")
def bed() -> Iterator[AlsaBed]:
    with alsa_bed(output="loopback,delay=40ms,quantum=256") as made:
        yield made


@pytest.fixture(scope="module")
def pulse(bed: AlsaBed) -> Iterator[PulseAudio]:
    try:
        daemon = PulseAudio(bed)
    except NoPulseAudioError as error:
        pytest.skip(f"no PulseAudio: {error}")
    yield daemon
    daemon.stop()


def test_the_sink_has_our_name(pulse: PulseAudio) -> None:
    assert "Description: Xen PV Audio" in pulse.sinks()


def test_parec_records_what_paplay_plays(bed: AlsaBed, pulse: PulseAudio, tmp_path: Path) -> None:
    samples = noise(2 * RATE, 2)
    file = write_noise(tmp_path / "noise.wav", samples, 2)
    raw = tmp_path / "recording.raw"
    form = ("--format=s16le", f"--rate={RATE}", "--channels=2", "--raw", "--latency-msec=50")
    with (
        raw.open("wb") as target,
        pulse.popen("parec", "-d", "xenpv_source", *form, stdout=target) as recorder,
    ):
        eventually(lambda: raw.stat().st_size, bed.log("pulse")[-3000:])
        pulse.run("paplay", "-d", "xenpv_sink", str(file))
        time.sleep(1.0)
        recorder.terminate()
        recorder.wait(LIMIT_SEC)
    assert_whole(compare(s16(samples), raw.read_bytes(), FRAME_BYTES, bytes(FRAME_BYTES)))


def test_an_idle_sink_lets_the_stream_go(bed: AlsaBed, pulse: PulseAudio) -> None:
    eventually(lambda: set(bed.streams().values()) == {"suspended"}, str(bed.streams()))
    pulse.run("paplay", "-d", "xenpv_sink", "--raw", "/dev/null")
