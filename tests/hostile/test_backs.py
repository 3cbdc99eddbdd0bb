"""The other way: what a hostile backend costs a guest's frontend, which has a PipeWire to serve."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from witness import runs_that_count
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

from .backs import ATTACKS, EVENTS_ONLY, GUEST
from .rows import BURST_LINES, CPU, LINES_PER_SEC
from .stage import Process, environment

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

SECONDS = 1.5
STALL_NSEC = 2_000_000
RSS_MIB = 16


class Place:
    """A guest with its PipeWire and a frontend, and nobody who serves it yet."""

    def __init__(self, directory: Path, session: PipeWireSession) -> None:
        self.sim = str(directory / "xen")
        self.log = directory / "frontend.log"
        self.session = session
        self.number = 0

    def run(self, name: str) -> tuple[int, float, float, float, str]:
        """How often it was done; then processor, MiB and log lines more than before."""
        self.number += 1
        directory = f"{self.sim}{self.number}"
        with start_hypervisor(directory), Toolstack(directory) as tools:
            tools.create_domain(GUEST, "work")
            tools.attach_vsnd(GUEST, 0, card_nodes())
            with self.log.open("wb") as log:
                frontend = subprocess.Popen(
                    [sys.executable, "-m", "xenpvaudio", "frontend"],
                    env={**self.session.env, SIM_VARIABLE: f"{directory}:{GUEST}"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            back = subprocess.Popen(
                [sys.executable, "-m", "hostile.backs", directory, name, str(SECONDS)],
                env=environment(os.environ),
                stdout=subprocess.PIPE,
                text=True,
            )
            assert back.stdout is not None
            try:
                assert back.stdout.readline() == "ready\n", self.log.read_text()
                before, lines, began = Process.of(frontend.pid), self.lines(), time.monotonic()
                done = int(back.communicate()[0])
                after, took = Process.of(frontend.pid), time.monotonic() - began
                assert frontend.poll() is None, self.log.read_text()
                cpu = (after.cpu_sec - before.cpu_sec) / took
                return done, cpu, after.rss_mib - before.rss_mib, self.lines() - lines, directory
            finally:
                for process in (back, frontend):
                    process.kill()
                    process.wait()
                back.stdout.close()

    def lines(self) -> int:
        return self.log.read_bytes().count(b"\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("backs")
    with PipeWireSession(directory / "guest", name="guest", pulse=False) as session:
        yield Place(directory, session)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_backend_costs_the_frontend_little(place: Place, name: str) -> None:
    def right(found: tuple[int, float, float, float, str]) -> bool:
        done, cpu, rss_mib, lines, _ = found
        print(f"{name}: {done} times, {cpu:.1%}, {rss_mib:+.1f} MiB, {lines} lines in {SECONDS} s")
        most_lines = BURST_LINES + LINES_PER_SEC * SECONDS + 8
        return (
            done > 0
            and (cpu < CPU or name in EVENTS_ONLY)
            and rss_mib < RSS_MIB
            and lines <= most_lines
        )

    (found,) = runs_that_count(lambda: place.run(name), right, 1, 3, STALL_NSEC)
    assert right(found), place.log.read_text()[-1500:]
