"""A peer that goes on and on is looked at ever more rarely, an honest one always at once."""

from __future__ import annotations

import itertools

from xenpvaudio.config import DomainPolicy
from xenpvaudio.xenbus.pace import (
    ATTEMPT_REQUESTS,
    BURST_REQUESTS,
    FIRST_HOLD_SEC,
    LONGEST_HOLD_SEC,
    RATE_REQUESTS_PER_SEC,
    Pace,
)


def looks(pace: Pace, begin_sec: float, seconds: float, cost: int) -> list[float]:
    """When a peer that never pauses is looked at."""
    now_sec, times = begin_sec, []
    while now_sec < begin_sec + seconds:
        wait_sec = pace.wait_sec(now_sec)
        if wait_sec == 0:
            times.append(now_sec)
            pace.spend(now_sec, cost)
            wait_sec = 0.0001
        now_sec += wait_sec
    return times


def test_a_peer_that_never_pauses_has_its_burst_and_then_waits_twice_as_long_each_time() -> None:
    times = looks(Pace(), 100.0, 120.0, 40)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    held = [round(gap, 1) for gap in gaps if gap >= FIRST_HOLD_SEC]
    assert held[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, LONGEST_HOLD_SEC, LONGEST_HOLD_SEC]
    assert len(times) < 1.2 * BURST_REQUESTS / 40 + 15


def test_a_driver_that_connects_anew_each_second_never_waits() -> None:
    connect = ATTEMPT_REQUESTS + 90
    pace = Pace()
    for second in range(1000):
        assert pace.wait_sec(float(second)) == 0
        pace.spend(float(second), connect)


def test_the_largest_card_connects_twice_in_a_row_without_a_wait() -> None:
    pace = Pace()
    for _ in range(2):
        assert pace.wait_sec(5.0) == 0
        pace.spend(5.0, ATTEMPT_REQUESTS + 704 + 128)
    assert pace.wait_sec(5.0) == 0


def test_what_policy_says_holds_at_once_and_what_was_spent_stays_spent() -> None:
    pace = Pace()
    pace.spend(5.0, BURST_REQUESTS - 10)
    pace.limit(BURST_REQUESTS + 100, 1)
    pace.spend(5.0, 100)
    assert pace.wait_sec(5.0) == 0
    pace.spend(5.0, 20)
    assert pace.wait_sec(5.0) == FIRST_HOLD_SEC


def test_the_policy_s_defaults_are_the_pace_s() -> None:
    policy = DomainPolicy()
    assert policy.max_xenstore_burst == BURST_REQUESTS
    assert policy.max_xenstore_per_sec == RATE_REQUESTS_PER_SEC


def test_quiet_makes_all_good_and_being_held_is_not_quiet() -> None:
    pace = Pace()
    times = looks(pace, 0.0, 60.0, 100)
    assert pace.wait_sec(60.0) > FIRST_HOLD_SEC
    quiet_from_sec = times[-1] + LONGEST_HOLD_SEC
    rested_sec = quiet_from_sec + BURST_REQUESTS / RATE_REQUESTS_PER_SEC
    again = looks(pace, rested_sec, 0.4, 100)
    assert len(again) >= BURST_REQUESTS / 100


def test_a_step_that_costs_more_than_is_left_is_one_hold_and_no_more() -> None:
    pace = Pace()
    for _ in range(BURST_REQUESTS // 100 + 10):
        pace.spend(1.0, 100)
    assert pace.wait_sec(1.0) == FIRST_HOLD_SEC
