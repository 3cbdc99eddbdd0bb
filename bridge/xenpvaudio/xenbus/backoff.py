"""How soon a guest is offered another connection. Pure: times are arguments.

A driver that fails right after it was connected tries again at once, for ever: Linux's does so with
a second card, for which it has no room. Each such short life makes the next offer later.
"""

from __future__ import annotations

from dataclasses import dataclass

SHORT_LIFE_SEC = 5.0
LONGEST_HOLD_SEC = 30.0
MOST_DOUBLINGS = 16


@dataclass(slots=True)
class Backoff:
    """Of one device: `hold_sec` is how long it stays closed after its guest closed it."""

    first_hold_sec: float
    _since_sec: float | None = None
    _short_lives: int = 0

    def connected(self, now_sec: float) -> None:
        self._since_sec = now_sec

    def ended(self, now_sec: float) -> None:
        """Of what never was connected it changes nothing."""
        if self._since_sec is None:
            return
        short = now_sec - self._since_sec < SHORT_LIFE_SEC
        self._short_lives = self._short_lives + 1 if short else 0
        self._since_sec = None

    def failed(self) -> None:
        """An attempt that came to no connection: as a short life."""
        self._short_lives += 1

    @property
    def hold_sec(self) -> float:
        # The first of them is no failure: drivers are unbound, and wait for one second.
        doublings = min(max(0, self._short_lives - 1), MOST_DOUBLINGS)
        return min(self.first_hold_sec * 2.0**doublings, LONGEST_HOLD_SEC)
