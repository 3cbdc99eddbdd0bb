"""One peer's lines are limited, by a simulated clock; others' are not."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenpvaudio.logs.limiter import BURST_LINES, REFILL_LINES_PER_SEC, SUMMARY_SEC, LineBudget
from xenpvaudio.logs.peer_log import PeerLines

MOST_PER_SEC = 10


class Clock:
    """Time, and what is due at a time."""

    def __init__(self) -> None:
        self.now_sec = 100.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self.due.append((self.now_sec + seconds, call))

    def go_on(self, seconds: float) -> None:
        end = self.now_sec + seconds
        while due := sorted((item for item in self.due if item[0] <= end), key=lambda i: i[0]):
            self.due.remove(due[0])
            self.now_sec, call = due[0]
            call()
        self.now_sec = end


def peer(clock: Clock, who: str) -> PeerLines:
    return PeerLines(who, now=lambda: clock.now_sec, later=clock.later)


def test_a_flood_is_at_most_ten_lines_a_second_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    log = peer(clock, "domain 7").logger(logging.getLogger("flood"))
    for number in range(10_000):  # 1000 a second
        log.warning("OPEN refused %d", number)
        clock.go_on(0.001)
    assert len(caplog.messages) <= 10 * MOST_PER_SEC
    clock.go_on(2 * SUMMARY_SEC)
    told = [line for line in caplog.messages if "OPEN" in line]
    summaries = [line for line in caplog.messages if line.endswith("more lines were left out")]
    assert told[:3] == ["OPEN refused 0", "OPEN refused 1", "OPEN refused 2"]
    assert all(line.startswith("domain 7: ") for line in summaries)
    left_out = sum(int(line.split(": ")[1].split()[0]) for line in summaries)
    assert len(told) + left_out == 10_000
    assert len(told) + len(summaries) == len(caplog.messages)


def test_all_loggers_of_a_peer_share_its_lines_and_other_peers_have_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    hostile, honest = peer(clock, "domain 7"), peer(clock, "domain 8")
    first, second = (hostile.logger(logging.getLogger(name)) for name in ("a", "b"))
    for _ in range(BURST_LINES):
        first.warning("a")
        second.warning("b")
    assert len(caplog.messages) == BURST_LINES
    honest.logger(logging.getLogger("a")).warning("heard")
    assert caplog.messages[-1] == "heard"


def test_who_was_quiet_for_a_while_is_heard_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = peer(clock, "domain 7").logger(logging.getLogger("quiet"))
    for _ in range(2 * BURST_LINES):
        log.warning("x")
    clock.go_on(BURST_LINES / REFILL_LINES_PER_SEC)
    caplog.clear()
    for _ in range(BURST_LINES):
        log.warning("y")
    assert caplog.messages == ["y"] * BURST_LINES


def test_a_line_that_is_not_written_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("level")
    logger.setLevel(logging.INFO)
    log = peer(Clock(), "domain 7").logger(logger)
    for _ in range(2 * BURST_LINES):
        log.debug("x")
    log.info("y")
    assert caplog.messages == ["y"]


@given(st.lists(st.floats(0, 3), min_size=1, max_size=400))
def test_any_ten_seconds_hold_at_most_ten_lines_a_second(gaps: list[float]) -> None:
    budget, now, told = LineBudget(), 0.0, []
    for gap in gaps:
        for _ in range(30):
            if budget.allows(now):
                told.append(now)
        now += gap
    most = max(sum(start <= at < start + 10 for at in told) for start in told)
    assert most + 10 / SUMMARY_SEC <= 10 * MOST_PER_SEC
