"""Both ends of the availability extension: the backend says which of a card's streams get nothing
from the host for now, above all a microphone that the host does not give
(packaging/doc/availability-extension.md).

One node in the backend's directory lists their paths, and is empty while there are none. A backend
without the extension has no such node, and then nothing is known. A backend chooses how often it
changes: the frontend looks once a second at most, and has no watch in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from xenpvaudio.logs.peer_log import PeerLog
from xenpvaudio.sndif.codes import LIST_SEPARATOR, UNAVAILABLE_STREAMS
from xenpvaudio.xen.api import AccessError, Watch, XenStore, XenStoreError

from .nodes import write_nodes

HOLD_SEC = 1.0
REWRITE_SEC = 1.0


class AvailabilityNode:
    """The backend's end. `directory`: its own."""

    def __init__(self, store: XenStore, directory: str, log: logging.Logger | PeerLog) -> None:
        self._store = store
        self._directory = directory
        self._log = log
        self._wanted = ""
        self._written: str | None = None
        self._complaint = ""
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, unavailable: Iterable[str]) -> None:
        """Paths of streams, such as "0/1". A store that is lost for now is told later."""
        self._wanted = LIST_SEPARATOR.join(sorted(unavailable))
        if self._wanted != self._written:
            self._write()

    def forget(self) -> None:
        """The frontend is gone: the next one is told anew."""
        self._written = None
        self._disarm()

    def _write(self) -> None:
        self._disarm()
        try:
            write_nodes(self._store, self._directory, {UNAVAILABLE_STREAMS: self._wanted})
        except XenStoreError as error:
            if self._complaint != str(error):
                self._complaint = str(error)
                self._log.warning("%s/%s: %s", self._directory, UNAVAILABLE_STREAMS, error)
            self._timer = asyncio.get_running_loop().call_later(REWRITE_SEC, self._write)
        else:
            self._written = self._wanted

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class AvailabilityWatch:
    """The frontend's end. `directory`: the backend's; `changed` is called when `unavailable` is
    another. What was known last stays known while there is no backend."""

    def __init__(
        self,
        store: XenStore,
        directory: str,
        changed: Callable[[], None],
        log: logging.Logger | PeerLog,
    ) -> None:
        self.unavailable: frozenset[str] | None = None
        """Paths of streams; None: the backend does not say."""
        self._store = store
        self._path = f"{directory}/{UNAVAILABLE_STREAMS}"
        self._changed = changed
        self._log = log
        self._watch: Watch | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._held_until_sec = 0.0
        self._complaint = ""
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """The backend is connected."""
        self.stop()
        self._watch_it()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _watch_it(self) -> None:
        """It fires at once."""
        self._timer = None
        try:
            self._watch = self._store.watch(self._path, self._fired)
        except XenStoreError as error:
            if self._complaint != str(error):
                self._complaint = str(error)
                self._log.warning("%s: %s", self._path, error)
            self._timer = self._loop.call_later(HOLD_SEC, self._watch_it)

    def _fired(self, _path: str) -> None:
        now_sec = self._loop.time()
        if now_sec < self._held_until_sec:
            self.stop()
            self._timer = self._loop.call_at(self._held_until_sec, self._watch_it)
            return
        self._held_until_sec = now_sec + HOLD_SEC
        try:
            text = self._store.get(self._path)
        except AccessError:
            text = None
        except XenStoreError:
            return  # it fires again when the store is back
        found = None if text is None else frozenset(filter(None, text.split(LIST_SEPARATOR)))
        if found != self.unavailable:
            self.unavailable = found
            self._changed()
