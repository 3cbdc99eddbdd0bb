"""An event loop whose time goes on when it is told to, and at no other moment: what is due by then
is done, and nobody waits. One for all inputs of a process, since each costs descriptors.
"""

from __future__ import annotations

import asyncio
from functools import cache


class Clock(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now_sec = 0.0
        super().__init__()

    def time(self) -> float:
        return self.now_sec

    async def go_on(self, seconds: float) -> None:
        """And do what is due."""
        self.now_sec += seconds
        for _ in range(3):  # what that makes due, too
            await asyncio.sleep(0)


@cache
def clock() -> Clock:
    return Clock()
