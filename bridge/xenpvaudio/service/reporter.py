"""Keeps a service manager told, from the event loop that does the work: when that loop is stuck,
the signs of life stop, and the manager's watchdog ends the process and starts another.

A half that is idle is woken by the watchdog's signs only, twice in its time; with none, never.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from .notify import Notifier

log = logging.getLogger(__name__)

LOOK_SEC = 3.0
"""How often the status line is made at the most."""


class Reporter:
    """From start() to close(), on the running event loop. `summary`: one line for
    `systemctl status`. `watchdog_sec`: notify.watchdog_sec()."""

    def __init__(
        self, notifier: Notifier, summary: Callable[[], str], watchdog_sec: float | None
    ) -> None:
        self._notifier = notifier
        self._summary = summary
        # Half of the time, as sd_watchdog_enabled(3) advises: one may come late.
        self._alive_sec = watchdog_sec / 2 if watchdog_sec else None
        self._ready_told = False
        self._told = ""
        self._looked_sec = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Says that the half is ready; again, that there is news. Without a manager nothing is
        done, now and later."""
        if self._notifier.is_heard:
            self._look()

    def renew(self) -> None:
        """The summary may be another one: it is looked at in a moment, for whoever calls is not
        done yet."""
        if self._notifier.is_heard:
            now_sec = asyncio.get_running_loop().time()
            self._look_at(max(now_sec, self._looked_sec + LOOK_SEC))

    def close(self) -> None:
        """Says that it ends."""
        self._end_timer()
        self._notifier.tell("STOPPING=1", "STATUS=closing")
        self._notifier.close()

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at(self, at_sec: float) -> None:
        """Then at the latest."""
        if self._timer is None or self._timer.when() > at_sec:
            self._end_timer()
            self._timer = asyncio.get_running_loop().call_at(at_sec, self._look)

    def _look(self) -> None:
        self._end_timer()
        self._looked_sec = asyncio.get_running_loop().time()
        if self._alive_sec is not None:  # first: whatever the rest meets, there is a next time
            self._look_at(self._looked_sec + self._alive_sec)
        lines = [] if self._ready_told else ["READY=1"]
        try:
            status = self._summary()
        except Exception:  # a stream that goes while it is looked at; the loop itself is alive
            log.debug("the status line", exc_info=True)
            status = self._told
        if status != self._told:
            lines.append(f"STATUS={status}")
        if self._alive_sec is not None:
            lines.append("WATCHDOG=1")
        if not lines:
            return
        if self._notifier.tell(*lines):
            self._ready_told = True
            self._told = status
        else:
            self._look_at(self._looked_sec + LOOK_SEC)
