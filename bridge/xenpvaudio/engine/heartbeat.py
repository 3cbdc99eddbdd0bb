"""Asks PipeWire now and then whether it is there, while anybody needs it: a daemon that stands
still keeps its connections, and nothing else tells of it. Each question wakes both programs: one
in three seconds is enough while it is answered.

Counted in looks for an answer, not in seconds: when this program stood still itself, the one
question on its way proves nothing. Runs in the event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from xenpvaudio.logs.peer_log import PeerLines

ASK_SEC = 3.0
LOOK_AGAIN_SEC = 1.0  # after a question that is not answered yet
UNANSWERED = 2
"""So many looks in a row without an answer are told."""


class Heartbeat:
    """`answers`: whether the last question is answered; if it is, asks the next one."""

    def __init__(self, answers: Callable[[], bool], log: logging.Logger) -> None:
        self._answers = answers
        self._log = PeerLines("PipeWire").logger(log)
        self._needed_by: set[int] = set()
        self._unanswered = 0
        self._timer: asyncio.TimerHandle | None = None

    def need(self, who: int, needed: bool) -> None:
        """Whether `who` has sound to pass now; nobody: nothing is asked."""
        (self._needed_by.add if needed else self._needed_by.discard)(who)
        if self._needed_by and self._timer is None:
            self._later(ASK_SEC)
        elif not self._needed_by:
            self.stop()

    def stop(self) -> None:
        self._unanswered = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._ask)

    def _ask(self) -> None:
        if self._answers():
            self._later(ASK_SEC)
            if self._unanswered >= UNANSWERED:
                self._log.info("PipeWire answers again")
            self._unanswered = 0
            return
        self._later(LOOK_AGAIN_SEC)
        self._unanswered += 1
        if self._unanswered == UNANSWERED:
            self._log.warning(
                "PipeWire does not answer: it is stopped or has too much to do, and sound may "
                "stand still until it answers again"
            )
