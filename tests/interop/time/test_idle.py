"""A pair of halves that nobody plays through sleeps: no thread of either is woken, and none makes a
system call, in XPA_IDLE_SEC seconds (10 if it is not set), once by the kernel's own count and once
by strace. What was played before has opened and closed both streams."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from interop.sound import RATE, Recording, eventually, noise, write_noise
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes, graph

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

IDLE_SEC = float(os.environ.get("XPA_IDLE_SEC", "10"))
# The backend's host stream lingers; and strace, too, wakes a thread that it attaches to.
SETTLE_SEC = 3.0
# A tick in the event loop, as a half must not have one; Python runs a file of this name at start.
# It comes every 3 s, and is to be found in 4.
TICKING_SEC = 4.0
PLANTED = """
import asyncio
run_forever = asyncio.BaseEventLoop.run_forever
def ticking(loop):
    def tick():
        loop.call_later(3.0, tick)
    loop.call_soon(tick)
    run_forever(loop)
asyncio.BaseEventLoop.run_forever = ticking
"""


def wakes(pid: int) -> int:
    """How often threads of this process have gone to sleep so far."""
    statuses = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    found = [re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M) for text in statuses]
    return sum(int(one[1]) for one in found if one)


def woken(pids: Mapping[str, int], seconds: float) -> dict[str, int]:
    """Meanwhile, by half."""
    before = {half: wakes(pid) for half, pid in pids.items()}
    time.sleep(seconds)
    return {half: wakes(pid) - before[half] for half, pid in pids.items()}


def calls(pids: Mapping[str, int], folder: Path, seconds: float) -> dict[str, list[str]]:
    """The system calls that strace sees meanwhile, by half."""
    began = time.time() + SETTLE_SEC
    tracers = {
        half: subprocess.Popen(
            ["strace", "-f", "-ttt", "-o", str(folder / half), "-p", str(pid)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for half, pid in pids.items()
    }
    time.sleep(SETTLE_SEC + seconds)
    for tracer in tracers.values():
        assert tracer.poll() is None, tracer.communicate()[1]
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=30)
    seen = {}
    for half in pids:
        lines = [line.split(maxsplit=2) for line in (folder / half).read_text().splitlines()]
        assert lines, f"strace saw nothing of the {half}, not even what it waits in"
        during = [text for _, at, text in lines if began <= float(at) < began + seconds]
        seen[half] = during
    return seen


def play_and_record(bed: Testbed, folder: Path) -> None:
    file = write_noise(folder / "short.wav", noise(RATE, 2), 2)
    recording = Recording(bed.guest, SOURCE, folder / "r.wav")
    bed.guest.run(["pw-play", "--target", SINK, str(file)])
    recording.stop()


def wait_until_closed(bed: Testbed) -> None:
    """Streams and host streams."""
    assert bed.host is not None
    host = bed.host
    eventually(
        lambda: all(
            (bed.node(name) or {}).get("xenpv.state") == "suspended" for name in (SINK, SOURCE)
        ),
        "a stream stays open",
    )
    eventually(
        lambda: (
            not any(
                str(thing["info"]["props"].get("node.name", "")).startswith("xenpv.")
                for thing in graph(host)
                if thing.get("type") == "PipeWire:Interface:Node"
            )
        ),
        "a host stream stays open",
    )
    time.sleep(SETTLE_SEC)


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    with Testbed(card_nodes(rates=[RATE], formats=["s16_le"])) as bed:
        bed.wait_for_node(SINK)
        bed.wait_for_node(SOURCE)
        play_and_record(bed, tmp_path_factory.mktemp("idle"))
        wait_until_closed(bed)
        yield bed


def test_nothing_wakes_an_idle_pair(bed: Testbed, tmp_path: Path) -> None:
    pids = {half: getattr(bed, half).pid for half in ("frontend", "backend")}
    assert woken(pids, IDLE_SEC) == {"frontend": 0, "backend": 0}
    assert calls(pids, tmp_path, IDLE_SEC) == {"frontend": [], "backend": []}


def test_a_tick_is_found(bed: Testbed, tmp_path: Path) -> None:
    """By both counts."""
    (tmp_path / "sitecustomize.py").write_text(PLANTED)
    assert bed.frontend is not None
    bed.frontend.terminate()
    bed.frontend.wait()
    bed.guest.env["PYTHONPATH"] = str(tmp_path)
    bed.start_frontend()
    bed.wait_for_node(SINK)
    wait_until_closed(bed)
    pids = {"frontend": bed.frontend.pid}
    assert 0 < woken(pids, TICKING_SEC)["frontend"] < TICKING_SEC
    assert 0 < len(calls(pids, tmp_path, TICKING_SEC)["frontend"]) < 10 * TICKING_SEC
