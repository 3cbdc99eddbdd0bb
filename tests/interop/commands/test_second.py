"""A half of another user, or of the system, that serves the domain already: the program as it is,
and a lock as that one holds it. Both with rights of their own are in tests/xen (a boot by systemd).
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE, device_of
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

LIMIT_SEC = 60  # no requirement, only a bound for a test that fails
UNAVAILABLE = 3
ARGUMENTS = {"frontend": [], "backend": ["--output", "null"]}
DOMAIN = {"frontend": 1, "backend": 0}
INITIALISING, INIT_WAIT = "1", "2"


@pytest.fixture
def xen(tmp_path: Path) -> Iterator[tuple[str, Toolstack]]:
    """A simulated machine with a guest that has a card."""
    directory = str(tmp_path / "xen")
    with start_hypervisor(directory), Toolstack(directory) as toolstack:
        toolstack.create_domain(1, "guest")
        toolstack.attach_vsnd(1, 0, card_nodes())
        yield directory, toolstack


@contextmanager
def held(role: str, directory: str) -> Iterator[None]:
    """This process has what another user's half would have."""
    domid = DOMAIN[role]
    path = device_of(role, domid, {SIM_VARIABLE: f"{directory}:{domid}"})
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment(role: str, directory: str, **more: str) -> dict[str, str]:
    env = {key: text for key, text in os.environ.items() if not key.startswith(("XDG_", "PIPEW"))}
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return {**env, SIM_VARIABLE: f"{directory}:{DOMAIN[role]}", **more}


def command(role: str) -> list[str]:
    return [sys.executable, "-m", "xenpvaudio", role, *ARGUMENTS[role]]


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_SEC
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Waiting:
    """The half with --wait, as its unit starts it: what it logs, and what systemd is told."""

    def __init__(self, role: str, directory: str, tmp_path: Path) -> None:
        self._log = tmp_path / "log"
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(tmp_path / "notify"))
        self._manager.setblocking(False)
        self.told: list[str] = []
        env = environment(role, directory, NOTIFY_SOCKET=str(tmp_path / "notify"))
        with self._log.open("w") as log:
            self.process = subprocess.Popen([*command(role), "--wait", "-v"], env=env, stderr=log)

    def lines(self) -> list[str]:
        return self._log.read_text().splitlines()

    def says(self, words: str) -> bool:
        assert self.process.poll() is None, self.lines()
        return any(words in line for line in self.lines())

    def status(self) -> str:
        """The newest status line."""
        while True:
            try:
                self.told += self._manager.recv(4096).decode().splitlines()
            except BlockingIOError:
                break
        lines = [line for line in self.told if line.startswith("STATUS=")]
        return lines[-1].removeprefix("STATUS=") if lines else ""

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(LIMIT_SEC)
        self.status()
        self._manager.close()
        return status


@pytest.mark.parametrize("role", ["frontend", "backend"])
def test_half_waits_for_the_end_of_another_users_and_says_so_once(
    role: str, xen: tuple[str, Toolstack], tmp_path: Path
) -> None:
    directory, toolstack = xen
    node = "/local/domain/0/backend/vsnd/1/0/state"
    words = f"a {role} is running already for this domain (process {os.getpid()})"
    with held(role, directory):
        half = Waiting(role, directory, tmp_path)
        try:
            until(lambda: half.status() == f"waits: {words}", f"told {half.told}")
            assert "READY=1" in half.told  # or systemd would end it after 90 s
            time.sleep(2.5)  # it looks each second
            assert len([line for line in half.lines() if words in line]) == 1, half.lines()
            assert toolstack.store.read(node) == INITIALISING
        except BaseException:
            half.end()
            raise
    try:
        until(lambda: half.says(" is ready"), "it does not take over")
        if role == "backend":
            until(lambda: toolstack.store.read(node) == INIT_WAIT, "nobody serves the card")
        until(lambda: "running" in half.status() and "waits: " not in half.status(), "its status")
    finally:
        assert half.end() == 0


@pytest.mark.parametrize("role", ["frontend", "backend"])
def test_half_that_waits_ends_when_it_is_told_to(
    role: str, xen: tuple[str, Toolstack], tmp_path: Path
) -> None:
    with held(role, xen[0]):
        half = Waiting(role, xen[0], tmp_path)
        until(lambda: half.says("waiting for its end"), "it does not wait")
        assert half.end() == 0
    assert "STOPPING=1" in half.told


@pytest.mark.parametrize("role", ["frontend", "backend"])
def test_half_that_is_not_to_wait_ends_with_one_line(role: str, xen: tuple[str, Toolstack]) -> None:
    with held(role, xen[0]):
        done = subprocess.run(
            command(role),
            env=environment(role, xen[0]),
            capture_output=True,
            text=True,
            timeout=LIMIT_SEC,
            check=False,
        )
    assert done.returncode == UNAVAILABLE
    assert done.stderr.splitlines() == [
        f"xen-pv-audio: a {role} is running already for this domain (process {os.getpid()}); "
        "stop that one first"
    ]
