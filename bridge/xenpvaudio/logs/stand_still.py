"""Says that this program did not run for a while: it, its domain or the machine stood still. Sound
had a gap then for which nobody else is to blame. Pure: times are arguments.
"""

from __future__ import annotations

NOTICED_SEC = 1.5


class StandStill:
    """Of something that comes around every `every_sec`."""

    def __init__(self, every_sec: float) -> None:
        self._every_sec = every_sec
        self._last_sec: float | None = None

    def ticked(self, now_sec: float) -> str:
        """Words for the log; empty if it came in time."""
        last_sec, self._last_sec = self._last_sec, now_sec
        if last_sec is None:
            return ""
        late_sec = now_sec - last_sec - self._every_sec
        if late_sec < NOTICED_SEC:
            return ""
        return (
            f"nothing ran here for {late_sec:.1f} s: this program, its domain or the machine "
            "stood still"
        )
