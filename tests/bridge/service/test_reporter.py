"""Signs of life and the status line, on an event loop whose clock is simulated: it never waits, the
next timer is always due. What is sent goes to a real datagram socket, and is read at the time it
was sent."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulated_loop import SimulatedLoop
from xenpvaudio.service.notify import Notifier
from xenpvaudio.service.reporter import LOOK_SEC, Reporter

WATCHDOG_SEC = 60.0


class Manager:
    """What it heard, as (seconds since the start, line)."""

    def __init__(self, path: Path) -> None:
        self.heard: list[tuple[float, str]] = []
        self.loop = SimulatedLoop()
        self._started_sec = self.loop.time()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.loop.add_reader(self._socket, self._hear)
        self.notifier = Notifier({"NOTIFY_SOCKET": str(path)})

    def _hear(self) -> None:
        now_sec = self.loop.time() - self._started_sec
        self.heard += [(now_sec, line) for line in self._socket.recv(4096).decode().split("\n")]

    def run(
        self,
        seconds: float,
        summary: Callable[[], str],
        *,
        watchdog_sec: float | None = WATCHDOG_SEC,
        stuck: tuple[float, float] | None = None,
        renewed_sec: float | None = None,
    ) -> None:
        """`stuck`: when, and for how long; `renewed_sec`: how often what is told may have changed;
        None: it is idle."""

        async def work() -> None:
            reporter = Reporter(self.notifier, summary, watchdog_sec)

            def renew() -> None:
                self.loop.call_later(renewed_sec or 0.0, renew)
                reporter.renew()

            if renewed_sec is not None:
                self.loop.call_later(renewed_sec, renew)
            if stuck is not None:
                self.loop.call_later(stuck[0], self.loop.stand_still, stuck[1])
            reporter.start()
            await asyncio.sleep(seconds)
            reporter.close()
            await asyncio.sleep(1)

        self.loop.run_until_complete(work())

    def told(self, name: str) -> list[tuple[float, str]]:
        lines = [(sec, line.partition("=")) for sec, line in self.heard]
        return [(sec, text) for sec, (key, _, text) in lines if key == name]

    def longest_silence_sec(self) -> float:
        times = [sec for sec, _ in self.told("WATCHDOG")]
        return max(after - before for before, after in itertools.pairwise(times))

    def close(self) -> None:
        self._socket.close()
        self.notifier.close()
        self.loop.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    try:
        yield made
    finally:
        made.close()


def test_ready_is_said_once_and_first_and_the_end_last(manager: Manager) -> None:
    manager.run(600, lambda: "no guests")
    assert manager.heard[0] == (0.0, "READY=1")
    assert len(manager.told("READY")) == 1
    assert [line for _, line in manager.heard[-2:]] == ["STOPPING=1", "STATUS=closing"]


@pytest.mark.parametrize("watchdog_sec", [1.0, WATCHDOG_SEC])
def test_a_loop_that_runs_gives_a_sign_within_half_of_the_time(
    manager: Manager, watchdog_sec: float
) -> None:
    manager.run(600, lambda: "", watchdog_sec=watchdog_sec)
    assert manager.longest_silence_sec() <= watchdog_sec / 2 + 0.001


def test_a_loop_that_is_stuck_gives_none(manager: Manager) -> None:
    manager.run(600, lambda: "", stuck=(100.0, 2 * WATCHDOG_SEC))
    assert manager.longest_silence_sec() > WATCHDOG_SEC


def test_without_a_watchdog_no_sign_is_sent(manager: Manager) -> None:
    manager.run(600, lambda: "", watchdog_sec=None)
    assert manager.told("WATCHDOG") == []


def test_status_is_sent_when_it_changes(manager: Manager) -> None:
    asked = [0]

    def changing() -> str:  # after each hundredth look another one
        asked[0] += 1
        return f"{asked[0] // 100} guests"

    manager.run(2000, changing, renewed_sec=1.0)
    texts = [text for _, text in manager.told("STATUS")][:-1]
    assert texts == [f"{number} guests" for number in range(asked[0] // 100 + 1)]
    assert asked[0] >= 2000 / LOOK_SEC - 1


def test_status_is_sent_at_most_once_a_second(manager: Manager) -> None:
    asked = [0]

    def always_new() -> str:
        asked[0] += 1
        return str(asked[0])

    manager.run(100, always_new, watchdog_sec=None, renewed_sec=0.1)
    times = [sec for sec, _ in manager.told("STATUS")][:-1]
    assert len(times) > 10
    assert min(after - before for before, after in itertools.pairwise(times)) >= 1


@pytest.mark.parametrize("watchdog_sec", [None, WATCHDOG_SEC])
def test_an_idle_half_is_woken_by_the_signs_of_life_alone(
    manager: Manager, watchdog_sec: float | None
) -> None:
    manager.run(600, lambda: "no guests", watchdog_sec=watchdog_sec)
    wakes = 1 + 1  # the end of the test's own two sleeps
    assert manager.loop.wakes - wakes == (2 * 600 / WATCHDOG_SEC - 1 if watchdog_sec else 0)


def test_what_has_changed_is_looked_at_when_whoever_says_so_is_done(manager: Manager) -> None:
    words = ["1 stream running"]

    async def work() -> None:
        reporter = Reporter(manager.notifier, lambda: words[0], None)
        reporter.start()
        await asyncio.sleep(100)
        reporter.renew()
        words[0] = "no stream"
        await asyncio.sleep(100)
        reporter.close()
        await asyncio.sleep(1)

    manager.loop.run_until_complete(work())
    assert [text for _, text in manager.told("STATUS")] == [
        "1 stream running",
        "no stream",
        "closing",
    ]


def test_a_status_that_cannot_be_made_stops_no_sign_of_life(manager: Manager) -> None:
    def broken() -> str:
        raise KeyError("rate_hz")

    manager.run(600, broken)
    assert manager.told("READY") and manager.longest_silence_sec() <= WATCHDOG_SEC / 2


def test_what_could_not_be_sent_is_sent_later(tmp_path: Path) -> None:
    """The manager executes itself anew, and its socket is away for a moment."""
    manager = Manager(tmp_path / "notify")
    try:
        (tmp_path / "notify").rename(tmp_path / "away")
        manager.loop.call_later(10, lambda: (tmp_path / "away").rename(tmp_path / "notify"))
        manager.run(60, lambda: "no guests")
        assert [text for _, text in manager.told("READY")] == ["1"]
        assert manager.told("STATUS")[0][1] == "no guests"
        assert manager.heard[0][0] >= 10
    finally:
        manager.close()
