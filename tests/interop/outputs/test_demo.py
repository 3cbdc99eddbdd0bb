"""`xen-pv-audio demo --host` on hosts without PipeWire: the real loudspeaker plays every frame."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from array import array
from collections.abc import Mapping
from pathlib import Path

from interop.outputs.pulseaudio import PulseAudio
from interop.outputs.speaker import FRAME_BYTES, RATE, Speaker, configuration
from interop.sound import assert_whole
from xenpvaudio.sound.compare import compare
from xenpvaudio.sound.speech import speech_bytes
from xenpvaudio.testbed.demo import SPEECH_SEC

SINK_MODULE = (
    "module-alsa-sink device=speaker sink_name=speaker tsched=0 format=float32le rate=48000 "
    "channels=2 fragments=4 fragment_size=4096"
)
SPEECH = array("f", [s / 32768 for s in array("h", speech_bytes(SPEECH_SEC, RATE, 2))]).tobytes()


def demo(environ: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xenpvaudio", "demo", "--json", *words],
        env=dict(environ),
        capture_output=True,
        text=True,
        check=False,
    )


def plays_whole(speaker: Speaker, environ: Mapping[str, str], host: str) -> None:
    done = demo(environ, "--host", host)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["bit_exact"] is True
    assert_whole(compare(SPEECH, speaker.data(), FRAME_BYTES, bytes(FRAME_BYTES)))


def test_demo_plays_through_a_pulseaudio_server(tmp_path: Path) -> None:
    speaker = Speaker(tmp_path)
    with PulseAudio(tmp_path, [SINK_MODULE], configuration(tmp_path, speaker)) as server:
        plays_whole(speaker, server.env, "pulse")


def test_demo_plays_through_a_sound_device(tmp_path: Path) -> None:
    speaker = Speaker(tmp_path)
    plays_whole(speaker, os.environ | configuration(tmp_path, speaker), "alsa:plug:speaker")


def test_demo_without_a_server_is_one_line(tmp_path: Path) -> None:
    nobody = os.environ | {"PULSE_SERVER": f"unix:{tmp_path}/nobody", "PULSE_RUNTIME_PATH": ""}
    done = demo(nobody, "--host", "pulse")
    assert done.returncode == 3, done.stderr
    assert "PulseAudio" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_private_session_is_pipewires(tmp_path: Path) -> None:
    done = demo(os.environ, "--host", "alsa:hw:0,0", "--private")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--private" in done.stderr
    assert demo(os.environ, "--host", "tape").returncode == 2
