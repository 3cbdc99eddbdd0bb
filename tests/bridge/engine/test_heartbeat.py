"""A PipeWire that does not answer is told once, and once that it answers again; nobody is told of
one that nobody needs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from xenpvaudio.engine import heartbeat
from xenpvaudio.engine.heartbeat import UNANSWERED, Heartbeat

LOST = "PipeWire does not answer: it is stopped or has too much to do"
BACK = "PipeWire answers again"


def told(answers: list[bool], caplog: pytest.LogCaptureFixture, *, needed: bool = True) -> str:
    """By a heartbeat that gets those answers, one after the other, and is then needed no more."""

    async def body() -> None:
        left: Iterator[bool] = iter(answers)
        ended = asyncio.Event()

        def ask() -> bool:
            answer = next(left, None)
            if answer is None:
                ended.set()
                beat.need(1, False)
            return answer is not False

        beat = Heartbeat(ask, logging.getLogger("test"))
        beat.need(1, needed)
        beat.need(2, False)
        if needed:
            await ended.wait()
        await asyncio.sleep(10 * heartbeat.ASK_SEC)
        assert list(left) == ([] if needed else answers)

    caplog.clear()
    with caplog.at_level(logging.INFO):
        asyncio.run(body())
    return "; ".join(record.getMessage()[: len(LOST)] for record in caplog.records)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "ASK_SEC", 0.003)
    monkeypatch.setattr(heartbeat, "LOOK_AGAIN_SEC", 0.001)


def test_a_daemon_that_stands_still_is_told_once_and_that_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert told([True, *[False] * 5 * UNANSWERED, True, True], caplog) == f"{LOST}; {BACK}"


def test_an_answer_that_is_late_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    late = [False] * (UNANSWERED - 1)
    assert told([*late, True, *late, True], caplog) == ""


def test_nobody_asks_what_nobody_needs(caplog: pytest.LogCaptureFixture) -> None:
    assert told([False] * 5, caplog, needed=False) == ""
