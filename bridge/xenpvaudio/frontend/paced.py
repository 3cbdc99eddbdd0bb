"""Does a thing at once and then only so often, however often a backend gives reason to; what comes
meanwhile is one more time, at the end. The event loop's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TURN_SEC = 0.05


class Paced:
    """Called like a function. `do` finds out by itself what is newest."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self._due = False
        self._resting: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        self._due = True
        if self._resting is None:
            self._turn()

    def _turn(self) -> None:
        self._resting = None
        if self._due:
            self._due = False
            self._resting = asyncio.get_running_loop().call_later(TURN_SEC, self._turn)
            self._do()
