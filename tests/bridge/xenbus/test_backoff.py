"""Offers to a guest that fails again and again become rare, and only those."""

from __future__ import annotations

from xenpvaudio.xenbus import states
from xenpvaudio.xenbus.backoff import LONGEST_HOLD_SEC, SHORT_LIFE_SEC, Patience

FIRST_SEC = states.CLOSING_HOLD_NSEC / 1e9


def lives(patience: Patience, length_sec: float, count: int) -> list[float]:
    """How long each was held after its end."""
    held = []
    for number in range(count):
        patience.connected(100.0 * number)
        patience.ended(100.0 * number + length_sec)
        held.append(patience.hold_sec)
    return held


def test_each_short_life_doubles_the_wait_up_to_a_limit() -> None:
    held = lives(Patience(FIRST_SEC), 1.0, 12)
    assert held[:4] == [FIRST_SEC, 2 * FIRST_SEC, 4 * FIRST_SEC, 8 * FIRST_SEC]
    assert held[-1] == LONGEST_HOLD_SEC
    assert held == sorted(held)


def test_a_driver_that_is_unbound_is_answered_within_its_second() -> None:
    assert Patience(FIRST_SEC).hold_sec == FIRST_SEC < 1
    assert lives(Patience(FIRST_SEC), 1.0, 2)[-1] < 1


def test_a_life_of_some_length_forgives_the_short_ones() -> None:
    patience = Patience(FIRST_SEC)
    assert lives(patience, 0.1, 8)[-1] > 10
    assert lives(patience, SHORT_LIFE_SEC, 1) == [FIRST_SEC]


def test_an_end_without_a_connection_changes_nothing() -> None:
    patience = Patience(FIRST_SEC)
    lives(patience, 0.1, 3)
    before = patience.hold_sec
    patience.ended(1e9)
    patience.ended(1e9)
    assert patience.hold_sec == before
