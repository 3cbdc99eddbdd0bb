"""Which devices there are: looks at the directories below a watched one, each once a turn.

Our own writes below it fire the watch too, and what a peer makes us write is its choice: so only
the directories are looked at in which something happened, and those of devices in charge not at
all. A device that ended although its directory is there is found again after a while, each time
later, so that what ends it cannot make it come and go without end. Runs in the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeAlias

from xenpvaudio.errors import ConfigError
from xenpvaudio.xen.api import Watch, XenStore, XenStoreError

from .backoff import Backoff

log = logging.getLogger(__name__)

# One that is plugged anew just while its predecessor ends waits that long.
FIRST_HOLD_SEC = 0.1

Key: TypeAlias = tuple[str, ...]
"""The numbers in the path of a device's directory."""


class Discovery:
    """`consider(key)` is called for each directory `depth` numbers below `root` that may hold a
    device to take charge of; it returns whether it did. Errors cost that directory only."""

    def __init__(
        self, store: XenStore, root: str, depth: int, consider: Callable[[Key], bool]
    ) -> None:
        self._store = store
        self._root = root
        self._depth = depth
        self._consider = consider
        self._due: dict[Key, None] = {}
        self._in_charge: dict[Key, Backoff] = {}
        self._ended: dict[Key, Backoff] = {}
        self._held: dict[Key, asyncio.TimerHandle] = {}
        self._asked = False
        self._watch: Watch | None = None
        self._complaint = ""
        self._loop = asyncio.get_running_loop()

    def run(self) -> None:
        self._watch = self._store.watch(self._root, self._changed)

    def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for timer in self._held.values():
            timer.cancel()
        self._held.clear()

    def ended(self, key: Key, *, there: bool) -> None:
        """The device is in charge of its directory no more. `there`: although the directory would
        still have one."""
        backoff = self._in_charge.pop(key)
        backoff.ended(self._loop.time())
        if self._watch is None:
            return
        if there:
            self._ended[key] = backoff
            self._held[key] = self._loop.call_later(backoff.hold_sec, self._release, key)
        else:
            self._note(key)

    def _release(self, key: Key) -> None:
        del self._held[key]
        self._note(key)

    def _path(self, key: Key) -> str:
        return "/".join((self._root, *key))

    def _changed(self, path: str) -> None:
        below = path[len(self._root) :].strip("/")
        self._note(tuple(below.split("/"))[: self._depth] if below else ())

    def _note(self, key: Key) -> None:
        if key in self._in_charge or key in self._held:
            return
        self._due[key] = None
        if not self._asked:
            self._asked = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """At what is due by now. A shorter key stands for all below it."""
        self._asked = False
        due, self._due = self._due, {}
        for key in due:
            try:
                for found in self._below(key):
                    self._look_at(found)
            except XenStoreError as error:
                self._complain(error)

    def _below(self, key: Key) -> list[Key]:
        if len(key) == self._depth:
            return [key] if all(map(_is_number, key)) else []
        path = self._path(key)
        names = self._store.list(path) if self._store.exists(path) else []
        keys = [(*key, name) for name in sorted(names) if _is_number(name)]
        return [found for key in keys for found in self._below(key)]

    def _look_at(self, key: Key) -> None:
        if self._watch is None or key in self._in_charge or key in self._held:
            return
        backoff = self._ended.pop(key, None) or Backoff(FIRST_HOLD_SEC)
        try:
            if not self._consider(key):
                return
        except (XenStoreError, ConfigError) as error:
            self._complain(error)
            return
        self._in_charge[key] = backoff
        backoff.connected(self._loop.time())

    def _complain(self, error: Exception) -> None:
        """Once: each change below the directory leads to the same again."""
        if self._complaint != str(error):
            self._complaint = str(error)
            log.error("%s: %s", self._root, error)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()
