"""When a slow XenStore is worth a word."""

from __future__ import annotations

import pytest

from xenpvaudio.xen.real.waits import SLOW_SEC, TOLD_AGAIN_SEC, Waits


def asked(waits: Waits, now_sec: float, waited_sec: float, count: int) -> list[tuple[int, float]]:
    """So many answers in a row; what was told."""
    told = []
    for number in range(count):
        found = waits.add(now_sec + (number + 1) * waited_sec, waited_sec)
        told += [found] if found else []
    return told


def test_many_slow_answers_are_told_once_and_counted() -> None:
    ((answers, seconds),) = asked(Waits(), 100.0, 0.03, 60)
    assert answers == 34
    assert seconds == pytest.approx(34 * 0.03)


def test_one_answer_that_took_long_is_told() -> None:
    assert asked(Waits(), 100.0, 5.0, 1) == [(1, 5.0)]


def test_a_quick_store_is_no_news_however_much_it_is_asked() -> None:
    waits = Waits()
    assert [waits.add(n * 0.01, 0.0005) for n in range(1, 100_000)] == [None] * 99_999


def test_it_is_told_again_after_a_while_and_not_before() -> None:
    waits = Waits()
    assert asked(waits, 0.0, SLOW_SEC, 1)
    assert not asked(waits, 10.0, SLOW_SEC, 5)
    assert asked(waits, TOLD_AGAIN_SEC, SLOW_SEC, 2)
