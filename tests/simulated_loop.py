"""An event loop whose clock is simulated: it never waits, the next timer is always due."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _NoWait(selectors.SelectSelector):
    """Instead of waiting, time passes."""

    now_sec = 1000.0
    wakes = 0
    """How often time passed until something was due."""

    def select(self, timeout: float | None = None) -> Any:
        if ready := super().select(0):
            return ready
        self.now_sec += timeout or 0.0
        self.wakes += bool(timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._no_wait = _NoWait()
        super().__init__(self._no_wait)

    def time(self) -> float:
        return self._no_wait.now_sec

    @property
    def wakes(self) -> int:
        return self._no_wait.wakes

    def stand_still(self, seconds: float) -> None:
        """As a callback that does not come back: nothing else runs meanwhile."""
        self._no_wait.now_sec += seconds
