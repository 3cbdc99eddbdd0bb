"""Playing and recording from a guest that has nothing but ALSA, through the host's loopback: each
frame comes back once, and what snd_pcm_delay() says of both ways is what the sound takes."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from pathlib import Path

import pytest

from interop.alsa.bed import PLUGIN, alsa_bed, at, s16
from interop.sound import LIMIT_SEC, RATE, assert_whole, eventually, noise, write_noise
from xenpvaudio.sound.compare import compare
from xenpvaudio.sound.wav import read_wav
from xenpvaudio.testbed.noise_player import noise as quiet_noise
from xenpvaudio.testbed.testbed import card_nodes

pytestmark = [
    pytest.mark.skipif(shutil.which("arecord") is None, reason="no alsa-utils"),
    pytest.mark.skipif(not PLUGIN.exists(), reason="built without libasound2-dev"),
]

FRAME_BYTES = 4
PLAYER = (sys.executable, "-m", "xenpvaudio.testbed.alsa.player")
PLAY_SEC = 8
ROOM_MSEC = 40


@pytest.mark.parametrize(
    "options",
    [
        ["-D", "xenpv"],
        ["-D", "xenpv", "--mmap", "--period-size=480", "--buffer-size=2000"],
        ["-D", "plug:xenpv", "--period-size=480", "--buffer-size=2000"],
    ],
    ids=["usual", "mapped", "converted"],
)
def test_arecord_records_what_aplay_plays(tmp_path: Path, options: list[str]) -> None:
    samples = noise(2 * RATE, 2)
    file = write_noise(tmp_path / "noise.wav", samples, 2)
    recording = tmp_path / "recording.wav"
    form = ("-f", "S16_LE", "-r", str(RATE), "-c", "2")
    converts = "plug:xenpv" in options
    nodes = card_nodes(formats=("s32_le" if converts else "s16_le",))
    with (
        alsa_bed(output="loopback,delay=40ms,quantum=256", nodes=nodes) as bed,
        bed.popen("arecord", "-q", *options, *form, str(recording)) as recorder,
    ):
        eventually(lambda: bed.streams().get("0/1") == "running", bed.log("frontend"))
        bed.run("aplay", "-q", "-D", options[1], str(file))
        time.sleep(0.5)
        recorder.terminate()
        recorder.wait(LIMIT_SEC)
        assert "Traceback" not in bed.log("frontend")
    assert_whole(compare(s16(samples), read_wav(recording).data, FRAME_BYTES, bytes(FRAME_BYTES)))


def test_killed_arecord_leaves_nothing(tmp_path: Path) -> None:
    form = ("-f", "S16_LE", "-r", str(RATE), "-c", "2")
    with alsa_bed(output="loopback,quantum=256") as bed:
        eventually(lambda: bed.streams().get("0/1") == "suspended", bed.log("frontend"))
        before = len(bed.hypervisor.report())
        for wait_sec in (0.0, 0.05, 0.5):
            target = str(tmp_path / "cut.wav")
            with bed.popen("arecord", "-q", "-D", "xenpv", *form, target) as recorder:
                time.sleep(wait_sec)
                recorder.kill()
        eventually(lambda: bed.streams().get("0/1") == "suspended", "it runs on")
        eventually(lambda: len(bed.hypervisor.report()) == before, "pages are left granted")
        bed.run("arecord", "-q", "-D", "xenpv", *form, "-d", "1", str(tmp_path / "whole.wav"))
        assert read_wav(tmp_path / "whole.wav").frames == RATE


@pytest.mark.parametrize(("period", "buffer"), [(1024, 8192), (256, 4096), (64, 4096)])
@pytest.mark.parametrize("ppm", [150, -150])
def test_the_delay_that_is_told_is_the_one_that_the_sound_takes(
    period: int, buffer: int, ppm: int, tmp_path: Path
) -> None:
    file = tmp_path / "captured.f32"
    output = f"loopback,delay={ROOM_MSEC}ms,quantum={min(period, 256)},ppm={ppm}"
    with alsa_bed(output=output) as bed:
        words = ("--period", str(period), "--buffer", str(buffer), "--capture-file", str(file))
        frames = ("--frames", str(PLAY_SEC * RATE), "--capture-frames", str((PLAY_SEC + 1) * RATE))
        told = json.loads(bed.run(*PLAYER, *words, *frames).splitlines()[-1])
        report = bed.log("frontend")
    assert told["xruns"] == [0, 0], report
    played = quiet_noise(PLAY_SEC * RATE, 2).tobytes()
    result = compare(played, file.read_bytes(), 8, bytes(8))
    assert_whole(result)
    assert result.inserted_silence == 0
    shift = result.first_received_frame
    assert shift is not None
    room_nsec = ROOM_MSEC * 1e6 / (1 + ppm * 1e-6)
    heard = [[frame, nsec] for frame, _, nsec in told["marks"]]
    errors = [
        said_nsec - at(heard, frame - shift) - room_nsec
        for frame, _, said_nsec in told["capture_marks"]
        if 3 * RATE < frame - shift < 7 * RATE  # the clocks have learnt the drift
    ]
    middle = statistics.median(errors)
    spread = sorted(abs(error - middle) for error in errors)[len(errors) * 9 // 10]
    print(
        f"period {period}, {ppm} ppm: off by {middle / 1e3:.1f} us, 90% within {spread / 1e3:.1f}"
    )
    assert abs(middle) < 100_000, (middle, spread)
    assert spread < 500_000, (middle, spread)
