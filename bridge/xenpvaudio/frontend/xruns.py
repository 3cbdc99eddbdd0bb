"""A stream's xruns over all its connections: who watches them must not see them begin anew when a
backend is restarted. Pure; `now` comes in."""

from __future__ import annotations


class Xruns:
    def __init__(self) -> None:
        self._before = 0
        self._now = 0
        self._last_sec: float | None = None

    @property
    def total(self) -> int:
        return self._before + self._now

    def seen(self, xruns: int, now_sec: float) -> None:
        """The connection of now counts so many."""
        if xruns > self._now:
            self._last_sec = now_sec
        self._now = xruns

    def connection_ended(self) -> None:
        """The next one counts from 0."""
        self._before, self._now = self.total, 0

    def last_ago_sec(self, now_sec: float) -> float | None:
        """None if there was none."""
        return None if self._last_sec is None else round(now_sec - self._last_sec, 1)
