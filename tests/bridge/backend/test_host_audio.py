"""Outputs through a relay: whose word a device's name is, what a stream costs, and a host without
the libraries."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenpvaudio.backend.host_audio.alsa import AlsaOutput
from xenpvaudio.backend.host_audio.shared import named_target, room_frames
from xenpvaudio.backend.policy import Usage
from xenpvaudio.backend.port import Identity
from xenpvaudio.config import DomainPolicy
from xenpvaudio.errors import ConfigError
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.xen.connect import SIM_VARIABLE
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio_native.alsa import FRAME_BYTES


@pytest.mark.parametrize(
    ("targets", "asked", "given"),
    [
        (("hw:1,0",), "hw:1,0", "hw:1,0"),
        (("hw:1,0", "*"), "hw:1,0", "hw:1,0"),
        (("*",), "hw:1,0", ""),
        (("hw:1,0",), "hw:0,0", ""),
        ((), "hw:0,0", ""),
        (("*",), "", ""),
    ],
)
def test_a_guests_word_is_no_device_of_pulse_or_alsa(
    targets: tuple[str, ...], asked: str, given: str
) -> None:
    identity = Identity("work", "vsnd/0 0/0", False, target=asked)
    assert named_target(identity, DomainPolicy(targets=targets)) == given


def test_what_a_stream_holds_is_counted_against_the_guest() -> None:
    """No relay is larger than what the output says, in any shape that a guest may open."""
    rate, policy = 48000, DomainPolicy(max_memory_bytes=12 << 20)
    held = AlsaOutput("hw:0", policy).memory_bytes(rate)
    widest = Config(PcmFormat.F64_LE, rate, 64, 256, 1024)
    assert room_frames(rate) * widest.frame_bytes == held == room_frames(rate) * FRAME_BYTES
    usage = Usage()
    usage.add_memory("first", widest, held, policy, False)
    with pytest.raises(ConfigError, match="max-memory-bytes"):
        usage.add_memory("second", widest, held, policy, False)


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of dom0, where neither library can be loaded and no server runs."""
    for name in ("libpulse.so.0", "libasound.so.2"):
        (tmp_path / name).write_text("no library")
    hypervisor = start_hypervisor(tmp_path / "xen")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PULSE_", "XDG_"))}
    yield {**kept, SIM_VARIABLE: f"{tmp_path / 'xen'}:0", "XDG_RUNTIME_DIR": str(tmp_path)}
    hypervisor.stop()


def backend(environ: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "xenpvaudio", "backend", *arguments]
    return subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("output", "package"), [("pulse", "libpulse0"), ("alsa:hw:0,0", "libasound2")]
)
def test_a_library_that_is_missing_is_one_line_with_its_package(
    output: str, package: str, environ: dict[str, str], tmp_path: Path
) -> None:
    environ["LD_LIBRARY_PATH"] = str(tmp_path)
    for wait in ((), ("--wait",)):
        process = backend(environ, "--output", output, *wait)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 3
        (line,) = told.splitlines()
        assert "is not installed" in line and f"apt install {package}" in line


def test_a_host_without_the_libraries_runs_everything_else(
    environ: dict[str, str], tmp_path: Path
) -> None:
    process = backend({**environ, "LD_LIBRARY_PATH": str(tmp_path)}, "--output", "null")
    assert process.stderr is not None
    assert "is ready" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_server_that_is_missing_is_one_line(environ: dict[str, str]) -> None:
    process = backend(environ, "--output", "pulse")
    _, told = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "no PulseAudio answers here (Connection refused)" in told.splitlines()[-1]
    assert "Traceback" not in told
