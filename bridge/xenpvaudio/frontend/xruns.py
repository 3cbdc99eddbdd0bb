"""A stream's xruns over all its connections: who watches them must not see them begin anew when a
backend is restarted. Pure; `now` comes in."""

from __future__ import annotations


class Xruns:
    def __init__(self) -> None:
        self._before = 0
        self._now = 0
        self._last_nsec = 0

    @property
    def total(self) -> int:
        return self._before + self._now

    def seen(self, xruns: int, last_nsec: int) -> None:
        """The connection of now counts so many, the last one at that time (CLOCK_MONOTONIC)."""
        if xruns > self._now:
            self._last_nsec = last_nsec
        self._now = xruns

    def connection_ended(self) -> None:
        """The next one counts from 0."""
        self._before, self._now = self.total, 0

    def last_ago_sec(self, now_sec: float) -> float | None:
        """None if there was none."""
        return round(now_sec - self._last_nsec / 1e9, 1) if self._last_nsec else None
