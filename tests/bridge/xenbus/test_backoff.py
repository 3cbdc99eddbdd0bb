"""Offers to a guest that fails again and again become rare, and only those."""

from __future__ import annotations

from xenpvaudio.xenbus import states
from xenpvaudio.xenbus.backoff import LONGEST_HOLD_SEC, SHORT_LIFE_SEC, Backoff

FIRST_SEC = states.CLOSING_HOLD_NSEC / 1e9


def lives(backoff: Backoff, length_sec: float, count: int) -> list[float]:
    """How long each was held after its end."""
    held = []
    for number in range(count):
        backoff.connected(100.0 * number)
        backoff.ended(100.0 * number + length_sec)
        held.append(backoff.hold_sec)
    return held


def test_each_short_life_doubles_the_wait_up_to_a_limit() -> None:
    held = lives(Backoff(FIRST_SEC), 1.0, 12)
    assert held[:4] == [FIRST_SEC, 2 * FIRST_SEC, 4 * FIRST_SEC, 8 * FIRST_SEC]
    assert held[-1] == LONGEST_HOLD_SEC
    assert held == sorted(held)


def test_a_driver_that_is_unbound_is_answered_within_its_second() -> None:
    assert Backoff(FIRST_SEC).hold_sec == FIRST_SEC < 1
    assert lives(Backoff(FIRST_SEC), 1.0, 2)[-1] < 1


def test_a_life_of_some_length_forgives_the_short_ones() -> None:
    backoff = Backoff(FIRST_SEC)
    assert lives(backoff, 0.1, 8)[-1] > 10
    assert lives(backoff, SHORT_LIFE_SEC, 1) == [FIRST_SEC]


def test_an_end_without_a_connection_changes_nothing() -> None:
    backoff = Backoff(FIRST_SEC)
    lives(backoff, 0.1, 3)
    before = backoff.hold_sec
    backoff.ended(1e9)
    backoff.ended(1e9)
    assert backoff.hold_sec == before
