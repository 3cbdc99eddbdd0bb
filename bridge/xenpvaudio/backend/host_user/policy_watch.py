"""Sees when the policy file is another one, and reads it. One that is wrong, or has gone, changes
nothing: what was read last holds, and one line says what is wrong with the new one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from xenpvaudio.config import Policy
from xenpvaudio.errors import XenPvAudioError

from .file_watch import FileWatch

log = logging.getLogger(__name__)


class PolicyWatch:
    """`load`: reads the file, and adds what the command line says; `changed` is told the result."""

    def __init__(
        self, path: Path, load: Callable[[], Policy], changed: Callable[[Policy], None]
    ) -> None:
        self._path = path
        self._load = load
        self._changed = changed
        self._seen = self._look()
        self._watch = FileWatch(path, self._may_be_new)

    def start(self) -> None:
        self._watch.start()
        self._may_be_new()  # since it was read first

    def stop(self) -> None:
        self._watch.stop()

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        rights = (found.st_mode, found.st_uid, found.st_gid)
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, *rights)

    def _may_be_new(self) -> None:
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
