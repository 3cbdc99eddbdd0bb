"""A guest with a real PulseAudio daemon on the plugin: paplay and parec, each frame once, suspend
on idle, and the latency that a client reads."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pulsectl
import pytest

from interop.alsa.bed import PLUGIN, ROOT, AlsaBed, alsa_bed, at, s16
from interop.alsa.pulse import PulseAudio
from interop.sound import LIMIT_SEC, RATE, assert_whole, eventually, noise, write_noise
from xenpvaudio.sound.compare import compare
from xenpvaudio.testbed.noise_player import noise as played

pytestmark = [
    pytest.mark.skipif(shutil.which("paplay") is None, reason="no pulseaudio-utils"),
    pytest.mark.skipif(not PLUGIN.exists(), reason="built without libasound2-dev"),
]

FRAME_BYTES = 4
PLAYER = (sys.executable, "-m", "xenpvaudio.testbed.alsa.player")
ROOM_MSEC = 40
HW_VOLUME_CTRL = 1  # PA_SINK_HW_VOLUME_CTRL (pulse/def.h)


@pytest.fixture(scope="module")
def bed() -> Iterator[AlsaBed]:
    with alsa_bed(output=f"loopback,delay={ROOM_MSEC}ms,quantum=256") as made:
        yield made


@pytest.fixture(scope="module")
def pulse(bed: AlsaBed) -> Iterator[PulseAudio]:
    with PulseAudio(bed) as daemon:
        yield daemon


def test_the_sink_has_our_name(pulse: PulseAudio) -> None:
    assert "Description: Xen PV Audio" in pulse.sinks()


def test_the_volume_is_pulseaudio_s_own(bed: AlsaBed, pulse: PulseAudio, tmp_path: Path) -> None:
    """Its module finds a mixer of the kernel's cards only: packaging/doc/outputs.md."""
    samples = array("f", [0.5, -0.5] * RATE)
    file = write_noise(tmp_path / "half.wav", samples, 2)
    with pulsectl.Pulse("test", server=pulse.env["PULSE_SERVER"]) as client:
        sink = client.get_sink_by_name("xenpv_sink")
        assert not sink.flags & HW_VOLUME_CTRL
        client.volume_set_all_chans(sink, 10 ** (-12 / 60))  # the cube of it is the amplitude
        pulse.run("paplay", "-d", "xenpv_sink", str(file))
        eventually(lambda: set(bed.streams().values()) == {"suspended"}, str(bed.streams()))
        loudest = max(map(abs, array("h", bed.heard()))) / 32768
        assert loudest == pytest.approx(0.5 * 10 ** (-12 / 20), rel=1e-3)
        said = bed.run("amixer", "-D", "xenpv", "sget", "Master")
        assert "[0.00dB]" in said  # ALSA's is beside it
        client.volume_set_all_chans(sink, 1.0)
    assert "Failed to find a working mixer device" not in bed.log("pulse")


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


def test_the_latency_that_a_client_reads_is_the_one_that_its_sound_takes(
    bed: AlsaBed, pulse: PulseAudio, tmp_path: Path
) -> None:
    """The truth is what an ALSA program records beside PulseAudio, and when it was said: see
    test_duplex.py."""
    eventually(lambda: set(bed.streams().values()) == {"suspended"}, str(bed.streams()))
    file = tmp_path / "captured.f32"
    record = [*PLAYER, "--frames", "0", "--period", "256", "--capture-frames", str(8 * RATE)]
    record += ["--capture-file", str(file)]
    play = [sys.executable, str(ROOT / "tests" / "interop" / "pulse_client.py"), "xenpv_sink"]
    with bed.popen(*record, stdout=subprocess.PIPE, text=True) as recorder:
        eventually(lambda: bed.streams().get("0/1") == "running", bed.log("frontend"))
        marks = json.loads(pulse.run(*play, "1024", "6").splitlines()[-1])["marks"]
        recorded = json.loads(recorder.communicate(timeout=LIMIT_SEC)[0])
    sent = np.frombuffer(played(6 * RATE, 2).tobytes(), np.float32)[::2]
    got = np.fromfile(file, np.float32)[::2]
    # of a second of it, somewhere in the middle
    middle = sent[3 * RATE : 4 * RATE]
    size = 1 << (len(got) + len(middle)).bit_length()
    product = np.fft.rfft(got, size) * np.conj(np.fft.rfft(middle, size))
    shift = int(np.argmax(np.fft.irfft(product, size))) - 3 * RATE
    said = [[frame, nsec] for frame, _, nsec in recorded["capture_marks"]]
    errors = [
        told_nsec - (at(said, frame + shift) - ROOM_MSEC * 1e6)
        for frame, _, told_nsec in marks
        if 3 * RATE < frame < 5 * RATE
    ]
    error_nsec = statistics.median(errors)
    least, most = min(errors) / 1e3, max(errors) / 1e3
    print(f"latency off by {error_nsec / 1e3:.0f} us, {least:.0f} to {most:.0f}")
    assert abs(error_nsec) < 1_000_000, errors


def test_a_daemon_is_ended_before_the_frontend_for_which_it_would_wait() -> None:
    with alsa_bed() as bed, PulseAudio(bed):
        began = time.monotonic()
        bed.stop_halves()
        assert time.monotonic() - began < 5
