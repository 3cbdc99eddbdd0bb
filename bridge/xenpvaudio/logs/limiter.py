"""How many log lines one peer may cause. Pure: `now_sec` comes in; any thread.

A bucket of lines that fills at a steady rate: what happens once (a card with many streams comes up)
is told in full, what a peer does again and again is not. Over any ten seconds these are at most
BURST_LINES + 10 * REFILL_LINES_PER_SEC + 10 / SUMMARY_SEC = 95 lines: below ten a second.
"""

from __future__ import annotations

BURST_LINES = 40
REFILL_LINES_PER_SEC = 5.0
SUMMARY_SEC = 2.0


class LineBudget:
    """One peer's lines."""

    def __init__(self) -> None:
        self._lines = float(BURST_LINES)
        self._seen_sec: float | None = None
        self.left_out = 0

    def allows(self, now_sec: float) -> bool:
        """Whether a line may be written now; if not, it is counted."""
        if self._seen_sec is not None:
            earned = max(0.0, now_sec - self._seen_sec) * REFILL_LINES_PER_SEC
            self._lines = min(float(BURST_LINES), self._lines + earned)
        self._seen_sec = now_sec
        if self._lines < 1:
            self.left_out += 1
            return False
        self._lines -= 1
        return True

    def take_left_out(self) -> int:
        """How many lines were left out since this was last asked."""
        count, self.left_out = self.left_out, 0
        return count
