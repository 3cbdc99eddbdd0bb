"""Whatever ends a command that has set up both halves, nothing of it stays: no process, no file."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interop.alsa.bed import PLUGIN
from interop.outputs.pulseaudio import on_the_path
from xenpvaudio.sound.wav import write_wav

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

LIMIT_SEC = 60.0
HALVES = ("-m xenpvaudio backend", "-m xenpvaudio frontend")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the command makes its own; a socket's path must be short."""
    with tempfile.TemporaryDirectory(prefix="xpa-t-") as name:
        yield Path(name)


def wait(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT_SEC
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def command_line(pid: int) -> str:
    """Empty for a process that has ended, a zombie too."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def of_folder(folder: Path) -> dict[int, str]:
    """Processes that have this folder in their environment: the command's, all of them."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={folder}".encode() in (path / "environ").read_bytes().split(b"\0"):
                found[int(path.name)] = command_line(int(path.name))
        except OSError:
            continue
    return {pid: line for pid, line in found.items() if line}


SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
COMMANDS = {
    "demo": (["demo", "--keep", "--private"], HALVES, SIGNALS),
    "latency": (["latency", "--simulate", "--seconds", "600"], HALVES, SIGNALS),
    "alsa": (
        ["demo", "--guest", "alsa", "--host", "null", "LONG"],
        (*HALVES, "aplay -q"),
        (signal.SIGKILL,),
    ),
    "pulse": (
        ["demo", "--guest", "pulse", "--host", "null", "LONG"],
        (*HALVES, "--daemonize=no", "paplay -d"),
        (signal.SIGHUP, signal.SIGKILL),
    ),
}


@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name, (_, _, numbers) in COMMANDS.items() for number in numbers],
)
def test_nothing_is_left_behind(
    name: str, number: signal.Signals, folder: Path, tmp_path: Path
) -> None:
    words, programs, _ = COMMANDS[name]
    environ = {**os.environ, "TMPDIR": str(folder)}
    if "--guest" in words:
        if shutil.which("aplay") is None or not PLUGIN.exists():
            pytest.skip("no ALSA here")
        environ |= on_the_path(tmp_path, environ["PATH"])
        write_wav(tmp_path / "long.wav", 48000, 2, "s16", bytes(4 * 48000 * 60))
        words = [str(tmp_path / "long.wav") if word == "LONG" else word for word in words]
    process = subprocess.Popen(
        [sys.executable, "-m", "xenpvaudio", *words],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # as a terminal's: who runs these tests may be deaf to it (nohup), and hands that down
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )

    def is_up() -> bool:
        lines = of_folder(folder).values()
        return all(any(program in line for line in lines) for program in programs)

    try:
        wait(is_up, "not all of it came up")
        process.send_signal(number)
        process.wait(LIMIT_SEC)
        wait(lambda: not of_folder(folder), f"still there: {of_folder(folder)}")
        wait(lambda: not list(folder.iterdir()), f"still there: {list(folder.iterdir())}")
    finally:
        process.kill()
        for pid in of_folder(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if number is signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
