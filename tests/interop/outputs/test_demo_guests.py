"""`xen-pv-audio demo --guest`: guests without PipeWire, on hosts with and without it."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from interop.alsa.bed import PLUGIN
from interop.outputs.pulseaudio import PulseAudio, on_the_path
from interop.outputs.speaker import FRAME_BYTES, RATE, Speaker, configuration
from interop.outputs.test_demo import SINK_MODULE, demo
from interop.sound import LIMIT_SEC, assert_whole, noise, write_noise
from xenpvaudio.errors import UnavailableError
from xenpvaudio.sound.channels import to_alsa_order
from xenpvaudio.sound.compare import compare
from xenpvaudio.sound.wav import write_wav
from xenpvaudio.testbed.alsa import files
from xenpvaudio.testbed.demo_guests import GUESTS
from xenpvaudio.usage import GUESTS as NAMES

pytestmark = [
    pytest.mark.skipif(shutil.which("aplay") is None, reason="no alsa-utils"),
    pytest.mark.skipif(shutil.which("paplay") is None, reason="no pulseaudio-utils"),
    pytest.mark.skipif(not PLUGIN.exists(), reason="built without libasound2-dev"),
]
SOUND = noise(RATE // 4, 2)
TOLD_MS = 2.0


@pytest.fixture(scope="module")
def pulse(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which there is a PulseAudio daemon to start."""
    return os.environ | on_the_path(tmp_path_factory.mktemp("pulse"), os.environ["PATH"])


def result(environ: Mapping[str, str], *words: str) -> dict[str, Any]:
    done = demo(environ, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    found = dict(json.loads(done.stdout))
    assert (found["bit_exact"], found["lost"], found["duplicated"]) == (True, 0, 0)
    assert found["frames_sent"] == found["frames_received"]
    return found


def heard_whole(speaker: Speaker) -> None:
    assert_whole(compare(SOUND.tobytes(), speaker.data(), FRAME_BYTES, bytes(FRAME_BYTES)))


def test_every_kind_that_the_command_line_names_is_there() -> None:
    assert set(NAMES) == set(GUESTS)


def test_aplay_is_heard_by_a_sound_device(tmp_path: Path) -> None:
    file = write_noise(tmp_path / "a.wav", SOUND, 2)
    speaker = Speaker(tmp_path)
    environ = os.environ | configuration(tmp_path, speaker)
    found = result(environ, "--guest", "alsa", "--host", "alsa:plug:speaker", str(file))
    assert (found["format"], found["channels"]) == ("s16_le", 2)
    assert found["period_frames"] > 0
    heard_whole(speaker)


def test_paplay_is_heard_by_a_pulseaudio_server(tmp_path: Path, pulse: dict[str, str]) -> None:
    file = write_noise(tmp_path / "a.wav", SOUND, 2)
    speaker = Speaker(tmp_path)
    with PulseAudio(tmp_path, [SINK_MODULE], configuration(tmp_path, speaker)) as server:
        environ = server.env | {"PATH": pulse["PATH"]}
        result(environ, "--guest", "pulse", "--host", "pulse", str(file))
    heard_whole(speaker)


@pytest.fixture
def six(tmp_path: Path) -> Path:
    """A file of six channels, whose samples no card has."""
    source = random.Random(1)
    samples = array("d", [source.uniform(-0.9, 0.9) for _ in range(6 * RATE // 4)])
    write_wav(tmp_path / "six.wav", RATE, 6, "f64", samples.tobytes())
    return tmp_path / "six.wav"


def test_six_channels_from_an_alsa_program_come_to_their_places_when_it_is_told(six: Path) -> None:
    found = result(os.environ, "--guest", "alsa", "--private", str(six))
    assert (found["format"], found["channels"]) == ("float_le", 6)
    assert found["delay_true_ms"] > 0
    assert abs(found["delay_reported_ms"] - found["delay_true_ms"]) < TOLD_MS, found


@pytest.mark.parametrize("guest", ["pipewire", "pulse"])
def test_six_channels_come_to_their_places_in_a_recording(
    guest: str, six: Path, pulse: dict[str, str]
) -> None:
    found = result(pulse, "--guest", guest, "--host", "null", str(six))
    assert (found["format"], found["channels"]) == ("float_le", 6)


def test_alsa_has_the_rear_before_the_centre() -> None:
    """FL FR FC LFE RL RR [SL SR], and FL FR RL RR FC LFE [SL SR]; two frames, two bytes each."""
    assert to_alsa_order(b"aabbccddeeffAABBCCDDEEFF", 6, 2) == b"aabbeeffccddAABBEEFFCCDD"
    assert to_alsa_order(b"abcdefghABCDEFGH", 8, 1) == b"abefcdghABEFCDGH"
    assert to_alsa_order(b"abcdABCD", 4, 1) == b"abcdABCD"


def test_what_the_kept_guest_prints_leads_into_it(tmp_path: Path) -> None:
    file = write_noise(tmp_path / "a.wav", SOUND, 2)
    with subprocess.Popen(
        [sys.executable, "-m", "xenpvaudio", "demo", "--guest", "alsa", "--host", "null", "--keep"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as keeping:
        assert keeping.stdout is not None
        environ = dict(os.environ)
        try:
            for line in keeping.stdout:
                if line.startswith("  export "):
                    name, _, text = line.removeprefix("  export ").strip().partition("=")
                    environ[name] = shlex.split(text)[0]
                if "Ctrl-C" in line:
                    break
            status = (sys.executable, "-m", "xenpvaudio", "status")
            for words in (("aplay", "-q", "-D", "plug:xenpv", str(file)), status):
                done = subprocess.run(
                    words, env=environ, capture_output=True, text=True, timeout=LIMIT_SEC
                )
                assert done.returncode == 0, done.stderr
            assert "without PipeWire, 1 card" in done.stdout
        finally:
            keeping.terminate()  # a shell may have it ignore Ctrl-C
        assert keeping.wait(LIMIT_SEC) == 128 + signal.SIGTERM


# -- something is not there


@pytest.mark.parametrize(
    ("guest", "missing"), [("alsa", "aplay"), ("pulse", "paplay"), ("pulse", "pulseaudio")]
)
def test_a_missing_program_is_one_line(guest: str, missing: str, tmp_path: Path) -> None:
    for program in ("paplay", "pactl", "pulseaudio", "aplay"):
        if program != missing:
            (tmp_path / program).symlink_to("/bin/true")
    done = demo(os.environ | {"PATH": str(tmp_path)}, "--guest", guest, "--host", "null")
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"xen-pv-audio: {missing} is missing; apt install ")


def test_a_daemon_that_ends_is_one_line(tmp_path: Path) -> None:
    script = tmp_path / "pulseaudio"
    script.write_text("#!/bin/sh\necho it has no mind to >&2\nexit 1\n")
    script.chmod(0o755)
    environ = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = demo(environ, "--guest", "pulse", "--host", "null")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "xen-pv-audio: pulseaudio ended: it has no mind to\n"


def test_a_missing_plugin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(PLUGIN) in files.plugin_lines()
    monkeypatch.setattr(files, "built", lambda name: Path("/nonexistent") / name)
    monkeypatch.setattr(files, "PLUGIN_FOLDERS", ("nonexistent",))
    with pytest.raises(UnavailableError, match=r"libasound_module_pcm_xenpv\.so is missing"):
        files.plugin_lines()
