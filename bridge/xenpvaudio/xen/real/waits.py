"""How long a XenStore lets us wait, and when that is worth a word. Pure: times are arguments.

What is waited for together counts, since a slow store is asked many things for one card. A tenth of
the time may pass so; what is more adds up.
"""

from __future__ import annotations

SLOW_SEC = 1.0
BEARABLE_SHARE = 0.1
TOLD_AGAIN_SEC = 60.0


class Waits:
    """Of one store."""

    def __init__(self) -> None:
        self._sum_sec = 0.0
        self._answers = 0
        self._seen_sec: float | None = None
        self._told_sec: float | None = None

    def add(self, now_sec: float, waited_sec: float) -> tuple[int, float] | None:
        """An answer came, or was given up: so many answers, and seconds for them, if they are to be
        told now."""
        if self._seen_sec is not None:
            between_sec = max(0.0, now_sec - waited_sec - self._seen_sec)
            self._sum_sec = max(0.0, self._sum_sec - between_sec * BEARABLE_SHARE)
        if self._sum_sec == 0.0:
            self._answers = 0
        self._seen_sec = now_sec
        self._sum_sec += waited_sec
        self._answers += 1
        if self._sum_sec < SLOW_SEC:
            return None
        if self._told_sec is not None and now_sec < self._told_sec + TOLD_AGAIN_SEC:
            return None
        self._told_sec = now_sec
        told = (self._answers, self._sum_sec)
        self._sum_sec = 0.0
        return told
