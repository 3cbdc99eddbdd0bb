"""One process's data plane and PipeWire connection, wired into asyncio.

The data loop's notices and PipeWire's events arrive as readable file descriptors; both are handed
to whoever registered under the id they carry. Used by frontend and backend alike; everything here
runs in the event loop's thread.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from xenpvaudio.errors import UnavailableError, XenPvAudioError, internal_error
from xenpvaudio_native.pipewire import Pipewire, PwEvent, PwEventKind
from xenpvaudio_native.plane import Budget, Notice, Plane

from .heartbeat import Heartbeat
from .ticker import Ticker

log = logging.getLogger(__name__)

T = TypeVar("T")

RECONNECT_SEC = 1.0
TICK_SEC = 1.0
# A node that PipeWire took away, or gave up, is made anew after this.
NODE_RETRY_SEC = 1.0

Failed = Callable[[XenPvAudioError], None]
"""What becomes of a stream or node whose handler raised: its owner starts it anew."""


def log_failure(error: XenPvAudioError) -> None:
    """The Failed of owners that have nothing to start anew."""
    log.error("%s", error)


@dataclass(frozen=True, slots=True)
class Owner(Generic[T]):
    """Who is handed what arrives under an id. What one cannot do keeps no other from its own."""

    handler: Callable[[T], None]
    failed: Failed
    where: str

    def serve(self, item: T) -> None:
        try:
            self.handler(item)
        except XenPvAudioError as error:
            self.failed(error)
        except Exception as error:
            log.debug("%s", self.where, exc_info=True)
            self.failed(internal_error(self.where, error))


class Engine:
    """`application_name`: given to PipeWire; None: no PipeWire, the data loop gets a thread.
    `tick_sec`: how often open streams are looked at."""

    def __init__(self, application_name: str | None, *, tick_sec: float = TICK_SEC) -> None:
        self.plane = Plane()
        self.pipewire: Pipewire | None = None
        self.pipewire_up = False
        self._ids = itertools.count(1)
        self._notice_owners: dict[int, Owner[Notice]] = {}
        self._event_owners: dict[int, Owner[PwEvent]] = {}
        self._pipewire_watchers: list[Callable[[bool], None]] = []
        self._manager_watchers: list[Callable[[PwEvent], None]] = []
        self._budgets: WeakValueDictionary[int, Budget] = WeakValueDictionary()
        self._reconnecting: asyncio.TimerHandle | None = None
        self._heartbeat = Heartbeat(self._pipewire_answers, log)
        self._change_watchers: list[Callable[[], None]] = []
        self.ticker = Ticker(tick_sec, log, self.changed)
        self._loop = asyncio.get_running_loop()
        if application_name is None:
            self.plane.start_thread()
        else:
            self.pipewire = Pipewire(self.plane, application_name)
            self._loop.add_reader(self.pipewire.fileno(), self.dispatch_pipewire)
        self._loop.add_reader(self.plane.fileno(), self._dispatch_notices)

    def new_id(self) -> int:
        """An id for a stream or node; never used twice."""
        return next(self._ids)

    def budget(self, domain_id: int) -> Budget:
        """What this peer may cost the data loop: the same for all its streams."""
        return self._budgets.setdefault(domain_id, Budget())

    def on_notice(
        self, stream_id: int, handler: Callable[[Notice], None], failed: Failed, where: str
    ) -> None:
        """`failed` is told, in words that begin with `where`, if the handler raises; all others
        are served as before."""
        self._notice_owners[stream_id] = Owner(handler, failed, where)

    def on_event(
        self, node_id: int, handler: Callable[[PwEvent], None], failed: Failed, where: str
    ) -> None:
        """As on_notice(), for PipeWire's events."""
        self._event_owners[node_id] = Owner(handler, failed, where)

    def forget(self, any_id: int) -> None:
        self._notice_owners.pop(any_id, None)
        self._event_owners.pop(any_id, None)
        self._heartbeat.need(any_id, False)
        self.ticker.stop(any_id)

    def tick(self, stream_id: int, handler: Callable[[], None], failed: Failed, where: str) -> None:
        """Calls `handler` every `tick_sec`, in one wake-up with all others', until
        ticker.stop(); the rest as on_notice()."""
        owner: Owner[None] = Owner(lambda _: handler(), failed, where)
        self.ticker.start(stream_id, lambda: owner.serve(None))

    def hand(self, notice: Notice) -> None:
        """To its owner, who may have put it off."""
        if owner := self._notice_owners.get(notice.stream_id):
            owner.serve(notice)

    def changed(self) -> None:
        """What is told of this half may be something else now; as often as `tick_sec` while a
        stream is open, and when a card or PipeWire comes or goes."""
        for watcher in self._change_watchers:
            watcher()

    def watch_changes(self, watcher: Callable[[], None]) -> None:
        """Called with each changed(); it must not raise."""
        self._change_watchers.append(watcher)

    # -- PipeWire's coming and going

    def watch_pipewire(self, watcher: Callable[[bool], None]) -> None:
        """Told True when the daemon is there, False when it is lost: free every node then."""
        self._pipewire_watchers.append(watcher)

    def unwatch_pipewire(self, watcher: Callable[[bool], None]) -> None:
        self._pipewire_watchers.remove(watcher)

    def watch_session_manager(self, watcher: Callable[[PwEvent], None]) -> None:
        """Called when one has started anew that links no device whose ports it finds made: make
        devices anew then."""
        self._manager_watchers.append(watcher)

    def connect_pipewire(self) -> None:
        """Raises UnavailableError if no daemon answers."""
        if self.pipewire is None or self.pipewire_up:
            return
        self.pipewire.connect()
        self.pipewire_up = True
        self._tell_watchers(True)

    def keep_pipewire(self) -> None:
        """Connects now or as soon as a daemon answers."""
        self._reconnecting = None
        try:
            self.connect_pipewire()
        except UnavailableError:
            self._reconnecting = self._loop.call_later(RECONNECT_SEC, self.keep_pipewire)
        else:
            log.info("PipeWire is there")

    def _lost(self, why: str) -> None:
        if not self.pipewire_up or self.pipewire is None:
            return
        log.warning("PipeWire is gone (%s): waiting for it to come back", why)
        self.pipewire_up = False
        self._tell_watchers(False)
        self.pipewire.disconnect()
        self._reconnecting = self._loop.call_later(RECONNECT_SEC, self.keep_pipewire)

    def need_pipewire(self, any_id: int, needed: bool) -> None:
        """Whether that stream or node has sound to pass: meanwhile a PipeWire that does not answer
        is told of."""
        self._heartbeat.need(any_id, needed)

    def _pipewire_answers(self) -> bool:
        """One that is gone has been told of."""
        return self.pipewire is None or not self.pipewire_up or self.pipewire.answers()

    def _manager_started(self, event: PwEvent) -> None:
        for watcher in tuple(self._manager_watchers):
            Owner(watcher, log_failure, "a session manager's return").serve(event)

    def _tell_watchers(self, up: bool) -> None:
        for watcher in tuple(self._pipewire_watchers):
            Owner(watcher, log_failure, "PipeWire's coming and going").serve(up)
        self.changed()

    # -- what the file descriptors bring

    def dispatch_pipewire(self) -> None:
        """Hands out what PipeWire's main loop has reported."""
        if self.pipewire is None:
            return
        for event in self.pipewire.dispatch():
            if event.kind is PwEventKind.LOST:
                self._lost(event.text)
            elif event.kind is PwEventKind.MANAGER:
                self._manager_started(event)
            elif owner := self._event_owners.get(event.id):
                owner.serve(event)

    def _dispatch_notices(self) -> None:
        for notice in self.plane.notices():
            self.hand(notice)
        if lost := self.plane.lost_notices():
            self._tell_of_lost_notices(lost)

    def _tell_of_lost_notices(self, lost: int) -> None:
        """Nobody knows whose they were: every stream is started anew."""
        error = UnavailableError(f"{lost} messages of the audio thread were lost unread")
        log.error("%s", error)
        for owner in tuple(self._notice_owners.values()):
            owner.failed(error)

    def close(self) -> None:
        """After every stream is detached and every node freed."""
        self._heartbeat.stop()
        self.ticker.close()
        if self._reconnecting:
            self._reconnecting.cancel()
        self._loop.remove_reader(self.plane.fileno())
        if self.pipewire:
            self._loop.remove_reader(self.pipewire.fileno())
            self.pipewire.close()
        self.plane.close()
