"""A source is paused while it starts a cycle: a program that records next is told the truth of each
frame, and gets none of before."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from interop.matrix.hosts import host
from interop.outputs.hearing import capture_error_frames
from interop.sound import Recording
from xenpvaudio.testbed.testbed import SOURCE, Testbed, card_nodes

SLOW = Path(__file__).parents[1] / "slowpause.c"
NEAR_FRAMES = 100
"""Far less than a cycle, which was the error."""

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def slow_pauses(folder: Path) -> str:
    found = ["pkg-config", "--cflags", "libpipewire-0.3"]
    headers = subprocess.run(found, capture_output=True, text=True, check=True).stdout
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    flags += headers.replace("-I", "-isystem").split()
    shim = folder / "slowpause.so"
    command = ["cc", *flags, "-o", str(shim), str(SLOW), "-ldl"]
    subprocess.run(command, check=True)
    return str(shim)


def test_what_is_recorded_after_a_slow_pause_is_told_truly(tmp_path: Path) -> None:
    words = ["--allow-microphone", "--output", "pipewire"]
    with (
        host("pipewire", tmp_path) as on,
        Testbed(card_nodes(), host_environ=on.environ, backend_args=words) as bed,
    ):
        assert bed.frontend is not None
        bed.frontend.terminate()
        bed.frontend.wait()
        bed.guest.env["LD_PRELOAD"] = slow_pauses(tmp_path)
        bed.start_frontend()
        del bed.guest.env["LD_PRELOAD"]
        bed.wait_for_node(SOURCE)
        errors = []
        for _ in range(3):
            recording = Recording(bed.guest, SOURCE, tmp_path / "before.wav")
            time.sleep(0.5)
            recording.stop()
            errors.append(capture_error_frames(bed, on.speaker, tmp_path))
        print(errors)
        assert all(abs(error) < NEAR_FRAMES for error in errors), errors
