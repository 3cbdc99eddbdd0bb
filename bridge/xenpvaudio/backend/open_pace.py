"""How soon a guest may open again. Pure: times are arguments.

An OPEN maps the guest's buffer and makes a host stream, a refused one a log line, so their number
is not the guest's to choose, on however many streams. One that comes too soon is answered a little
later, and none is refused for that: a ring holds what follows it, so each stream waits for one OPEN
at a time, and all that a guest may have for no longer than a kernel's frontend has patience, 3 s.
"""

from __future__ import annotations

from xenpvaudio.config import DomainPolicy


class OpenPace:
    """Of one guest."""

    def __init__(self) -> None:
        self._due_sec = float("-inf")
        self.waits = 0
        """How many had to wait."""
        defaults = DomainPolicy()
        self.limit(defaults.max_opens_burst, defaults.max_opens_per_sec)

    def limit(self, burst: int, per_sec: int) -> None:
        self._interval_sec = 1 / per_sec
        self._burst_sec = burst * self._interval_sec

    def wait_sec(self, now_sec: float, opens: int = 1) -> float:
        """How long the OPEN that came now has to wait; asked once for each. `opens`: as how many it
        counts, for its work."""
        self._due_sec = max(self._due_sec, now_sec - self._burst_sec)
        self._due_sec += opens * self._interval_sec
        wait_sec = max(0.0, self._due_sec - now_sec)
        self.waits += wait_sec > 0
        return wait_sec
