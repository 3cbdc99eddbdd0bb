"""The log as one peer may use it: its lines are limited, and the log itself is safe to read.

PeerLines is one peer's share, for all its devices and streams; logger() gives what is used like a
logger. Lines that were left out are counted in one line, every two seconds while it goes on. Runs
in the event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from .limiter import SUMMARY_SEC, LineBudget
from .quoting import printable

Later: TypeAlias = Callable[[float, Callable[[], None]], object]


def _later(seconds: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


class PeerLines:
    """`who`: as the summary names the peer; `now` and `later`: the clock."""

    def __init__(
        self, who: str, *, now: Callable[[], float] = time.monotonic, later: Later = _later
    ) -> None:
        self._who = who
        self._now = now
        self._later = later
        self._budget = LineBudget()
        self._summary_due = False

    def logger(self, logger: logging.Logger) -> PeerLog:
        return PeerLog(logger, self)

    def allows(self, logger: logging.Logger) -> bool:
        """Whether one more line may be written; if not, a summary will say so on `logger`."""
        if self._budget.allows(self._now()):
            return True
        if not self._summary_due:
            self._summary_due = True
            self._later(SUMMARY_SEC, lambda: self._tell(logger))
        return False

    def _tell(self, logger: logging.Logger) -> None:
        self._summary_due = False
        count = self._budget.take_left_out()
        logger.warning("%s: %d more lines were left out", self._who, count)


class PeerLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines one peer causes."""

    def __init__(self, logger: logging.Logger, lines: PeerLines) -> None:
        super().__init__(logger, {})
        self._lines = lines

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level) and self._lines.allows(self.logger):
            self.logger.log(level, msg, *args, **kwargs)


class LineFormatter(logging.Formatter):
    """The last thing before the terminal: a record is one line, whatever came into it; a traceback
    (--verbose) is set in."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        lines = super().formatException(ei).split("\n")
        return "\n".join("  | " + printable(line) for line in lines)
