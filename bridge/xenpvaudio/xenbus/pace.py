"""How much a peer may make us do. Pure: times are arguments.

A peer chooses how often it writes its state, and each time we look at it, and perhaps connect. What
that costs is counted in XenStore requests. A peer that has used up what every honest one has plenty
of is looked at later, each time twice as late; what it writes meanwhile is seen then, as the newest
state. Being quiet for a while makes all of it good.
"""

from __future__ import annotations

# Two handshakes of the largest card, or one of each of eight cards that share its streams.
BURST_REQUESTS = 2000
RATE_REQUESTS_PER_SEC = 200
FIRST_HOLD_SEC = 0.5
LONGEST_HOLD_SEC = 10.0

# What an attempt to connect costs beside XenStore: rings, channels, host streams, log lines.
ATTEMPT_REQUESTS = 100
# What broke the protocol costs a log line, and a handshake from its beginning.
VIOLATION_REQUESTS = 100


class Pace:
    """Of one peer, with all devices that it has here."""

    def __init__(self) -> None:
        self._burst_requests, self._per_sec = BURST_REQUESTS, RATE_REQUESTS_PER_SEC
        self._left = float(BURST_REQUESTS)
        self._quiet_since_sec = 0.0
        self._hold_sec = FIRST_HOLD_SEC
        self.holds = 0
        """How often it was held off."""

    def limit(self, burst_requests: int, per_sec: int) -> None:
        """What it has spent, it has spent."""
        self._left += burst_requests - self._burst_requests
        self._burst_requests, self._per_sec = burst_requests, per_sec

    def wait_sec(self, now_sec: float) -> float:
        """How long until the peer may be looked at; 0: now."""
        quiet_sec = now_sec - self._quiet_since_sec
        if quiet_sec < 0:
            return -quiet_sec
        self._left = min(self._burst_requests, self._left + quiet_sec * self._per_sec)
        self._quiet_since_sec = now_sec
        if self._left == self._burst_requests:
            self._hold_sec = FIRST_HOLD_SEC
        return 0.0

    def spend(self, now_sec: float, requests: int) -> None:
        """May be more than there is left: what a step costs is known after it."""
        self._left -= requests
        if self._left < 0 and self._quiet_since_sec <= now_sec:
            self._left = 0.0
            self.holds += 1
            self._quiet_since_sec = now_sec + self._hold_sec  # being held is not being quiet
            self._hold_sec = min(2 * self._hold_sec, LONGEST_HOLD_SEC)
