"""Open streams are looked at in one wake-up for all of them, and none while nothing is open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from simulated_loop import SimulatedLoop
from xenpvaudio.engine.engine import Engine
from xenpvaudio.engine.ticker import Ticker
from xenpvaudio.errors import InternalError, XenPvAudioError

LOG = logging.getLogger("test")


def on_simulated_time(body: Callable[[SimulatedLoop], Coroutine[Any, Any, None]]) -> None:
    loop = SimulatedLoop()
    try:
        loop.run_until_complete(body(loop))
    finally:
        loop.close()


def test_sixteen_streams_wake_as_often_as_one() -> None:
    async def body(loop: SimulatedLoop) -> None:
        rounds, ticks = [0], [0] * 16

        def count() -> None:
            rounds[0] += 1

        def tick(number: int) -> None:
            ticks[number] += 1

        ticker = Ticker(1.0, LOG, count)
        for number in range(16):
            ticker.start(number, lambda number=number: tick(number))  # type: ignore[misc]
            await asyncio.sleep(0.01)
        before = loop.wakes
        await asyncio.sleep(60)
        assert loop.wakes - before in (60, 61)  # and the test's own
        assert {60} == set(ticks)
        assert rounds == [61]  # and that of the first start
        for number in range(16):
            ticker.stop(number)
        before = loop.wakes
        await asyncio.sleep(600)
        assert loop.wakes - before == 1

    on_simulated_time(body)


def test_one_that_ends_within_a_round_and_one_that_begins_disturb_nobody() -> None:
    async def body(_loop: SimulatedLoop) -> None:
        seen: list[int] = []
        ticker = Ticker(1.0, LOG)

        def first() -> None:
            seen.append(1)
            ticker.stop(1)
            ticker.start(3, lambda: seen.append(3))

        ticker.start(1, first)
        ticker.start(2, lambda: seen.append(2))
        await asyncio.sleep(2.5)
        ticker.close()
        assert seen == [1, 2, 2, 3]

    on_simulated_time(body)


def test_that_nothing_ran_is_said_of_open_streams_and_not_of_the_time_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body(loop: SimulatedLoop) -> None:
        ticker = Ticker(1.0, LOG)
        ticker.start(1)
        await asyncio.sleep(5)
        ticker.stop(1)
        loop.stand_still(100)
        await asyncio.sleep(100)
        ticker.start(1)
        await asyncio.sleep(5.5)
        assert caplog.messages == []
        loop.stand_still(7)
        await asyncio.sleep(5)
        ticker.close()
        assert len(caplog.messages) == 1 and "nothing ran here for" in caplog.messages[0]

    with caplog.at_level(logging.WARNING):
        on_simulated_time(body)


def test_a_tick_that_raises_is_its_streams_own_fault() -> None:
    async def body() -> None:
        engine = Engine(None, tick_sec=0.001)
        failed: list[XenPvAudioError] = []
        others = asyncio.Event()

        def broken() -> None:
            raise ValueError("odd")

        engine.tick(1, broken, failed.append, "one")
        engine.tick(2, others.set, failed.append, "two")
        await others.wait()
        engine.forget(1)
        told = len(failed)
        others.clear()
        await others.wait()
        assert len(failed) == told >= 1
        assert isinstance(failed[0], InternalError) and str(failed[0]).startswith("one: ")
        engine.close()

    asyncio.run(body())
