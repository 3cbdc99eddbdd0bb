"""Sees when the policy file is another one, and reads it. One that is wrong, or has gone, changes
nothing: what was read last holds, and one line says what is wrong with the new one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from xenpvaudio.config import Policy
from xenpvaudio.errors import XenPvAudioError
from xenpvaudio.logs.stand_still import StandStill

log = logging.getLogger(__name__)

LOOK_SEC = 3.0


class PolicyWatch:
    """`load`: reads the file, and adds what the command line says; `changed` is told the result.
    A look now and then: an editor may write to the file or put another in its place, and where a
    directory of the path is made later no event would tell of it."""

    def __init__(
        self, path: Path, load: Callable[[], Policy], changed: Callable[[Policy], None]
    ) -> None:
        self._path = path
        self._load = load
        self._changed = changed
        self._seen = self._look()
        self._still = StandStill(LOOK_SEC)  # no tick of its own: each costs a quiet machine
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SEC, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def _tick(self) -> None:
        self.start()
        if words := self._still.ticked(asyncio.get_running_loop().time()):
            log.warning("%s", words)
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        if seen is None:
            log.warning("%s is gone: what it said still holds", self._path)
            return
        try:
            policy = self._load()
        except XenPvAudioError as error:
            log.error("%s; what it said before still holds", error)
            return
        log.info("%s is read anew", self._path)
        self._changed(policy)
