"""Playing from a guest that has nothing but ALSA: real programs, each frame once, and what becomes
of them when a process of the way is killed."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.alsa.bed import PLUGIN, AlsaBed, alsa_bed, s16
from interop.sound import LIMIT_SEC, RATE, assert_whole, eventually, noise, write_noise
from xenpvaudio.sound.compare import compare

pytestmark = [
    pytest.mark.skipif(shutil.which("aplay") is None, reason="no alsa-utils"),
    pytest.mark.skipif(not PLUGIN.exists(), reason="built without libasound2-dev"),
]

FRAME_BYTES = 4


@pytest.fixture(scope="module")
def bed() -> Iterator[AlsaBed]:
    with alsa_bed() as made:
        yield made


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("noise") / "noise.wav"
    return write_noise(path, noise(2 * RATE, 2), 2)


SENT = s16(noise(2 * RATE, 2))


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--period-size=1024", "--buffer-size=4096"],
        ["--period-size=256", "--buffer-size=2048"],
        ["--mmap", "--period-size=512", "--buffer-size=8192"],
        ["--nonblock", "--period-size=1024", "--buffer-size=8192"],
    ],
    ids=lambda options: " ".join(options) or "default",
)
def test_aplay_plays_every_frame(bed: AlsaBed, file: Path, options: list[str]) -> None:
    said = bed.run("aplay", "-D", "xenpv", *options, str(file))
    assert "underrun" not in said
    assert_whole(compare(SENT, bed.heard(), FRAME_BYTES, bytes(FRAME_BYTES)))


def test_periods_of_64_frames_play_every_frame(file: Path) -> None:
    with alsa_bed(output="null,quantum=64") as bed:
        options = ("--period-size=64", "--buffer-size=1024")
        bed.run("aplay", "-D", "xenpv", *options, str(file))
        assert_whole(compare(SENT, bed.heard(), FRAME_BYTES, bytes(FRAME_BYTES)))


def test_alsa_converts_what_the_card_has_not(bed: AlsaBed, tmp_path: Path) -> None:
    samples = noise(RATE, 1)
    mono = write_noise(tmp_path / "mono.wav", samples, 1, rate=24000)
    bed.run("aplay", "-D", "plug:xenpv", str(mono))
    assert len(bed.heard().rstrip(b"\0")) > RATE * FRAME_BYTES


def test_speaker_test_says_front_left(bed: AlsaBed) -> None:
    bed.run("speaker-test", "-D", "xenpv", "-c", "2", "-t", "sine", "-l", "1", "-s", "1")
    assert len(bed.heard().strip(b"\0")) > RATE


def test_aplay_lists_the_device(bed: AlsaBed) -> None:
    assert re.search(r"^xenpv\n +Xen PV Audio$", bed.run("aplay", "-L"), re.MULTILINE)


def test_two_programs_do_not_share_a_stream(bed: AlsaBed, file: Path) -> None:
    with bed.popen("aplay", "-q", "-D", "xenpv", str(file)) as first:
        eventually(lambda: bed.streams().get("0/0") == "running", "nothing plays")
        second = subprocess.run(
            ["aplay", "-D", "xenpv", str(file)],
            env=bed.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SEC,
        )
        assert second.returncode != 0
        assert "busy" in second.stderr
        assert first.wait(LIMIT_SEC) == 0
    assert_whole(compare(SENT, bed.heard(), FRAME_BYTES, bytes(FRAME_BYTES)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-D", "xenpv:7"], "No such device"),
        (["-D", "xenpv:0,3"], "No such device or address"),
        (["-D", "xenpv", "-f", "S16_LE", "-r", "12345"], "rate"),
    ],
)
def test_what_is_not_there_is_one_line(bed: AlsaBed, words: list[str], said: str) -> None:
    done = subprocess.run(
        ["aplay", *words, "-d", "1", "/dev/zero"],
        env=bed.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SEC,
    )
    assert said in done.stderr
    assert "Traceback" not in bed.log("frontend")


# -- killed


def play_for(bed: AlsaBed, file: Path, seconds: float, *options: str) -> subprocess.Popen[Any]:
    playing = bed.popen(
        "aplay", "-D", "xenpv", *options, str(file), stderr=subprocess.PIPE, text=True
    )
    eventually(
        lambda: bed.streams().get("0/0") == "running", f"nothing plays: {bed.log('frontend')}"
    )
    time.sleep(seconds)
    return playing


def test_a_killed_aplay_costs_the_frontend_nothing(bed: AlsaBed, file: Path) -> None:
    """At any moment: opening, just started, playing, draining."""
    before = bed.hypervisor.report()
    for wait_sec in (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 1.95):
        with bed.popen("aplay", "-q", "-D", "xenpv", str(file)) as playing:
            time.sleep(wait_sec)
            playing.kill()
    eventually(lambda: "running" not in bed.streams().values(), "a dead program's stream runs on")
    bed.run("aplay", "-D", "xenpv", str(file))
    assert_whole(compare(SENT, bed.heard(), FRAME_BYTES, bytes(FRAME_BYTES)))
    eventually(lambda: len(bed.hypervisor.report()) == len(before), "pages are left granted")
    assert bed.frontend.poll() is None
    assert "Traceback" not in bed.log("frontend")


def test_aplay_goes_on_when_the_frontend_is_killed_and_back(tmp_path: Path) -> None:
    long = noise(6 * RATE, 2)
    file = write_noise(tmp_path / "long.wav", long, 2)
    with alsa_bed() as bed, play_for(bed, file, 1.0) as playing:
        bed.frontend.kill()
        bed.frontend.wait()
        bed.start_frontend()
        _, said = playing.communicate(timeout=LIMIT_SEC)
        assert playing.returncode == 0, said
        result = compare(s16(long), bed.heard(), FRAME_BYTES, bytes(FRAME_BYTES))
        assert (result.duplicated, result.reordered, result.corrupted) == (0, 0, 0), result
        assert result.matched > RATE, result


def test_aplay_goes_on_when_the_backend_is_killed_and_back(tmp_path: Path) -> None:
    long = noise(6 * RATE, 2)
    file = write_noise(tmp_path / "long.wav", long, 2)
    with alsa_bed() as bed, play_for(bed, file, 1.0) as playing:
        bed.backend.kill()
        bed.backend.wait()
        bed.start_backend()
        _, said = playing.communicate(timeout=LIMIT_SEC)
        assert playing.returncode == 0, said + bed.log("frontend")
        result = compare(s16(long), bed.heard(), FRAME_BYTES, bytes(FRAME_BYTES))
        assert (result.duplicated, result.reordered, result.corrupted) == (0, 0, 0), result
        assert result.matched > RATE, result


def test_aplay_ends_when_the_frontend_does_not_come_back(file: Path) -> None:
    with alsa_bed() as bed, play_for(bed, file, 0.5) as playing:
        bed.frontend.send_signal(signal.SIGKILL)
        bed.frontend.wait()
        _, said = playing.communicate(timeout=LIMIT_SEC)
        assert playing.returncode != 0
        assert "No such device" in said
