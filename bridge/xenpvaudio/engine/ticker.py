"""What a half does about once a second for its open streams: one wake-up for all of them, and none
while no stream is open, so that an idle machine can sleep.

Says, too, when nothing ran here for a while, which is heard only where a stream is open. The event
loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from xenpvaudio.logs.stand_still import StandStill


class Ticker:
    """Comes around every `every_sec` from the first start() until all have stopped. `on_round` is
    called after each round, and when the first stream has come or the last one gone."""

    def __init__(
        self, every_sec: float, log: logging.Logger, on_round: Callable[[], None] = lambda: None
    ) -> None:
        self._every_sec = every_sec
        self._log = log
        self._ticks: dict[int, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._still = StandStill(every_sec)
        self._on_round = on_round

    def start(self, who: int, tick: Callable[[], None] = lambda: None) -> None:
        """`tick` must not raise. Started already: it takes the place of the one before."""
        self._ticks[who] = tick
        if self._timer is None:
            self._still = StandStill(self._every_sec)  # nobody has looked until now
            self._again()
            self._on_round()

    def stop(self, who: int) -> None:
        if self._ticks.pop(who, None) is not None and not self._ticks:
            self.close()
            self._on_round()

    def close(self) -> None:
        self._ticks.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self) -> None:
        loop = asyncio.get_running_loop()
        if words := self._still.ticked(loop.time()):
            self._log.warning("%s", words)
        self._timer = loop.call_later(self._every_sec, self._round)

    def _round(self) -> None:
        self._again()
        for tick in tuple(self._ticks.values()):
            tick()
        self._on_round()
