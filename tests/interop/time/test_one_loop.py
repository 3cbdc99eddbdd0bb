"""All audio of a process runs on one data loop, also where PipeWire is configured to have several
(since 1.2): rings, clocks and streams share what they own without a lock."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import wave
from collections import Counter
from pathlib import Path

import pytest

from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes
from xenpvaudio_native.pipewire import library_version

SPY = Path(__file__).parents[1] / "loopspy.c"
LOOPS = 4
SEVERAL = f"context.properties = {{ context.num-data-loops = {LOOPS} }}\n"

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.skipif(library_version() < (1, 2, 0), reason="PipeWire has one data loop only"),
]


def configure(env: dict[str, str]) -> None:
    for program in ("client", "client-rt"):
        folder = Path(env["XDG_CONFIG_HOME"]) / "pipewire" / f"{program}.conf.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "several-loops.conf").write_text(SEVERAL)


def threads(pid: int) -> Counter[str]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return Counter((task / "comm").read_text().strip() for task in tasks)


def test_a_sink_and_a_source_are_handled_by_one_thread(tmp_path: Path) -> None:
    spy, seen = tmp_path / "loopspy.so", tmp_path / "seen"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", spy, SPY, "-ldl"], check=True)

    def handled() -> list[list[str]]:
        """Thread and stream."""
        return [line.split() for line in seen.read_text().splitlines()] if seen.exists() else []

    def streams() -> int:
        return len({stream for _, stream in handled()})

    output = ["--allow-microphone", "--output", "loopback"]
    with Testbed(card_nodes(), host_environ=os.environ, backend_args=output) as bed:
        assert bed.frontend is not None
        bed.frontend.terminate()
        bed.frontend.wait()
        configure(bed.guest.env)
        bed.guest.env.update(LD_PRELOAD=str(spy), LOOPSPY=str(seen))
        bed.start_frontend()
        del bed.guest.env["LD_PRELOAD"]
        for node in (SINK, SOURCE):
            bed.wait_for_node(node)
        with wave.open(str(tmp_path / "out.wav"), "wb") as file:
            file.setparams((2, 2, 48000, 0, "NONE", ""))
            file.writeframes(bytes(4 * 48000 * 60))
        clients = [
            bed.guest.popen([program, "--target", node, str(tmp_path / name)])
            for program, node, name in (
                ("pw-play", SINK, "out.wav"),
                ("pw-record", SOURCE, "in.wav"),
            )
        ]
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and streams() < 2:
            time.sleep(0.1)
        loops = sum(n for name, n in threads(bed.frontend.pid).items() if "data" in name)
        for client in clients:
            client.send_signal(signal.SIGINT)
            client.wait()
    print(library_version(), handled(), loops)
    assert streams() == 2
    assert len({thread for thread, _ in handled()}) == 1
