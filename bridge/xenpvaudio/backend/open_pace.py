"""How soon a stream is opened again. Pure: times are arguments.

An OPEN maps the guest's buffer and makes a host stream, a refused one a log line, so their number
is not the guest's to choose. One that comes too soon is answered a little later, and none is
refused for that: the ring holds what follows it, so a guest waits for one OPEN at a time.
"""

from __future__ import annotations

# A player that goes through its list, a sound server that tries formats.
BURST_OPENS = 16
INTERVAL_SEC = 0.25  # far below the 3 s that a kernel's frontend waits for an answer


class OpenPace:
    """Of one stream."""

    def __init__(self) -> None:
        self._due_sec = float("-inf")

    def wait_sec(self, now_sec: float) -> float:
        """How long the OPEN that came now has to wait; asked once for each."""
        burst_sec = BURST_OPENS * INTERVAL_SEC
        self._due_sec = max(self._due_sec, now_sec - burst_sec) + INTERVAL_SEC
        return max(0.0, self._due_sec - now_sec)
