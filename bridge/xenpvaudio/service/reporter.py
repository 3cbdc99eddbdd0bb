"""Keeps a service manager told, from the event loop that does the work: when that loop is stuck,
the signs of life stop, and the manager's watchdog ends the process and starts another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from .notify import Notifier

log = logging.getLogger(__name__)

LOOK_SEC = 3.0
"""How often the status line is made; each look wakes a machine that may be idle."""


class Reporter:
    """From start() to close(), on the running event loop. `summary`: one line for
    `systemctl status`. `watchdog_sec`: notify.watchdog_sec()."""

    def __init__(
        self, notifier: Notifier, summary: Callable[[], str], watchdog_sec: float | None
    ) -> None:
        self._notifier = notifier
        self._summary = summary
        # Half of the time, as sd_watchdog_enabled(3) advises: one may come late.
        self._look_sec = min(LOOK_SEC, watchdog_sec / 2) if watchdog_sec else LOOK_SEC
        self._is_watched = watchdog_sec is not None
        self._ready_told = False
        self._told = ""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Says that the half is ready; again, that there is news. Without a manager nothing is
        done, now and later."""
        if self._timer is not None:
            self._timer.cancel()
        if self._notifier.is_heard:
            self._look()

    def close(self) -> None:
        """Says that it ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._notifier.tell("STOPPING=1", "STATUS=closing")
        self._notifier.close()

    def _look(self) -> None:
        # First, so that whatever the rest meets, there is a next time.
        self._timer = asyncio.get_running_loop().call_later(self._look_sec, self._look)
        lines = [] if self._ready_told else ["READY=1"]
        try:
            status = self._summary()
        except Exception:  # a stream that goes while it is looked at; the loop itself is alive
            log.debug("the status line", exc_info=True)
            status = self._told
        if status != self._told:
            lines.append(f"STATUS={status}")
        if self._is_watched:
            lines.append("WATCHDOG=1")
        if lines and self._notifier.tell(*lines):
            self._ready_told = True
            self._told = status
