"""The other way: what a hostile backend costs a guest's frontend, which has a PipeWire to serve,
and an honest backend beside it, in a driver domain of its own, that an application plays to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from interop.sound import RATE, eventually, noise, write_noise
from witness import runs_that_count
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import card_nodes, find_node
from xenpvaudio.xen.connect import SIM_VARIABLE
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

from .backs import ATTACKS, GUEST
from .rows import BURST_LINES, CPU, LINES_PER_SEC
from .stage import Process, environment

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

SECONDS = 1.5
STALL_NSEC = 2_000_000
RSS_MIB = 16
DRIVER = 2
HONEST_SINK, HOSTILE_SINK = "xenpv_sink.1.0.0", "xenpv_sink.0.0.0"
HURRIES = "all is heard at once"
HURRY_SECONDS = 4.0
FLOAT_STEREO_BYTES = 8


@dataclass(frozen=True)
class Cost:
    """Of a hostile backend: how often it did it; then what there is more than before."""

    done: int
    cpu: float
    rss_mib: float
    lines: int
    xruns: int  # of the stream that the honest backend plays


class Place:
    """A guest with its PipeWire and a frontend, an honest backend, and nobody yet who serves the
    first of its two cards."""

    def __init__(self, directory: Path, session: PipeWireSession) -> None:
        self.sim = str(directory / "xen")
        self.log = directory / "frontend.log"
        self.session = session
        self.music = write_noise(directory / "music.wav", noise(RATE, 2) * 60, 2)
        self.number = 0

    @contextmanager
    def program(self, env: Mapping[str, str], *command: str, **options: Any) -> Iterator[Any]:
        process = subprocess.Popen([*command], env=dict(env), stdin=subprocess.DEVNULL, **options)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def run(self, name: str, seconds: float = SECONDS) -> Cost:
        """An application plays to the hostile backend, too, where that matters."""
        self.number += 1
        directory = f"{self.sim}{self.number}"
        half = (sys.executable, "-m", "xenpvaudio")
        with ExitStack() as stack:
            stack.enter_context(start_hypervisor(directory))
            tools = stack.enter_context(Toolstack(directory))
            tools.create_domain(GUEST, "work")
            tools.create_domain(DRIVER, "driver")
            known = [f"/local/domain/{GUEST}/{node}" for node in ("name", "vm")]
            for node in known:  # a policy is for a guest that is known
                tools.store.set_perms(node, ["n0", f"r{GUEST}", f"r{DRIVER}"])
            tools.attach_vsnd(GUEST, 0, card_nodes())
            tools.attach_vsnd(GUEST, 1, card_nodes(capture=False), DRIVER)
            log = stack.enter_context(self.log.open("wb"))
            env = {**self.session.env, SIM_VARIABLE: f"{directory}:{DRIVER}"}
            loud = {"stdout": log, "stderr": subprocess.STDOUT}
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            stack.enter_context(self.program(env, *half, "backend", "--output", "null", **quiet))
            env = {**self.session.env, SIM_VARIABLE: f"{directory}:{GUEST}"}
            frontend = stack.enter_context(self.program(env, *half, "frontend", **loud))
            eventually(lambda: self.honest(), self.words())
            player = ("pw-play", "--target", HONEST_SINK, str(self.music))
            stack.enter_context(self.program(self.session.env, *player, **quiet))
            other = ("pw-play", "--target", HOSTILE_SINK, str(self.music))
            eventually(lambda: self.honest().get("xenpv.state") == "running", self.words())
            back = stack.enter_context(
                self.program(
                    environment(os.environ),
                    *(sys.executable, "-m", "hostile.backs", directory, name, str(seconds)),
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            assert back.stdout.readline() == "ready\n", self.words()
            if name == HURRIES:
                eventually(lambda: find_node(self.session, HOSTILE_SINK), self.words())
                stack.enter_context(self.program(self.session.env, *other, **quiet))
            before, lines, began = Process.of(frontend.pid), self.lines(), time.monotonic()
            xruns = self.xruns()
            done = int(back.communicate()[0])
            after, took = Process.of(frontend.pid), time.monotonic() - began
            assert frontend.poll() is None, self.words()
            time.sleep(1.2)  # its figures are renewed once a second
            return Cost(
                done,
                (after.cpu_sec - before.cpu_sec) / took,
                after.rss_mib - before.rss_mib,
                self.lines() - lines,
                self.xruns() - xruns,
            )

    def honest(self) -> dict[str, Any]:
        return find_node(self.session, HONEST_SINK) or {}

    def xruns(self) -> int:
        return int(self.honest().get("xenpv.xruns", 0))

    def words(self) -> str:
        return self.log.read_text()[-1500:]

    def lines(self) -> int:
        return self.log.read_bytes().count(b"\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("backs")
    with PipeWireSession(directory / "guest", name="guest", pulse=False) as session:
        yield Place(directory, session)


def test_a_backend_that_hears_all_at_once_makes_no_graph_run_faster(place: Place) -> None:
    """The graph's cycles follow its positions: without a measure they would take a processor."""

    def right(found: Cost) -> bool:
        frames = found.done / FLOAT_STEREO_BYTES
        print(f"{frames:.0f} frames, {found} in {HURRY_SECONDS} s")
        return 0 < frames < 2 * HURRY_SECONDS * RATE and found.cpu < CPU and found.xruns == 0

    (found,) = runs_that_count(lambda: place.run(HURRIES, HURRY_SECONDS), right, 1, 3, STALL_NSEC)
    assert right(found), place.words()


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != HURRIES])
def test_a_hostile_backend_costs_the_frontend_little(place: Place, name: str) -> None:
    def right(found: Cost) -> bool:
        print(f"{name}: {found} in {SECONDS} s")
        return (
            found.done > 0
            and found.cpu < CPU
            and found.rss_mib < RSS_MIB
            and found.lines <= BURST_LINES + LINES_PER_SEC * SECONDS + 8
            and found.xruns == 0
        )

    (found,) = runs_that_count(lambda: place.run(name), right, 1, 3, STALL_NSEC)
    assert right(found), place.words()
