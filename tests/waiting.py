"""How a test in an asyncio loop waits for what comes about by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICK_SEC = 0.01
TICKS = 2000
"""Counted, not timed: a machine that stands still takes nothing from a test's patience."""


async def wait_for(condition: Callable[[], bool]) -> None:
    """Returns once `condition` is true; AssertionError, and no hang, where it never is."""
    for _ in range(TICKS):
        if condition():
            return
        await asyncio.sleep(TICK_SEC)
    raise AssertionError(f"did not happen within {TICKS * TICK_SEC:.0f} s")
