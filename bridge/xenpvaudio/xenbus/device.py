"""Carries out a xenbus table for one device: events in a queue, one step at a time.

Frontend and backend devices differ in their table, in the directories they watch, and in what the
actions do; the order of things is the same for both and lives here (see xenbus/states.py for it).
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod

from xenpvaudio.errors import (
    ConfigError,
    PeerGoneError,
    PeerProtocolError,
    XenPvAudioError,
    internal_error,
)
from xenpvaudio.logs.peer_log import PeerLines
from xenpvaudio.xen.api import (
    AccessError,
    NotFoundError,
    StoreGoneError,
    Watch,
    XenStore,
    XenStoreError,
)

from .nodes import write_state
from .states import STATE, Action, Event, Local, Table, XenbusState, parse_state, step

log = logging.getLogger(__name__)

REWRITE_SEC = 1.0


class XenbusDevice(ABC):
    """`directory`: ours in XenStore; `peer`: the other end's; `where`: for people; `lines`: the
    other end's share of the log."""

    table: Table

    def __init__(
        self,
        store: XenStore,
        directory: str,
        peer: str,
        where: str,
        lines: PeerLines | None = None,
    ) -> None:
        self.store = store
        self.directory = directory
        self.peer = peer
        self.where = where
        self.lines = lines or PeerLines(where)
        self.log = self.lines.logger(log)
        self.state = XenbusState.UNKNOWN
        self.finished = asyncio.Event()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        self._rewrite: asyncio.TimerHandle | None = None
        self._watches: list[Watch] = []
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._complaint = ""

    def run(self) -> None:
        """Takes charge of the device."""
        self.feed(Local.START)
        self._task = asyncio.create_task(self._work(), name=self.where)
        self._watches.append(self.store.watch(f"{self.directory}/{STATE}", self._own_changed))
        self._watches.append(self.store.watch(f"{self.peer}/{STATE}", self._peer_changed))

    def feed(self, event: Event) -> None:
        self._events.put_nowait(event)

    async def stop(self) -> None:
        """This program ends; returns when the device is closed or forgotten."""
        self.feed(Local.STOP)
        await self.finished.wait()

    # -- what a device does

    @abstractmethod
    async def act(self, action: Action) -> None:
        """Carries out one action; XenPvAudioError if it cannot be done."""

    @abstractmethod
    def timer_sec(self, action_state: XenbusState) -> float:
        """How long ARM_TIMER waits in the state that is entered."""

    @abstractmethod
    def own_changed(self) -> None:
        """Our own state node was written, by us or by the toolstack."""

    # -- events

    def _own_changed(self, _path: str) -> None:
        try:
            if not self.store.exists(self.directory):
                self.feed(Local.REMOVED)
                return
            self.own_changed()
        except AccessError:
            self.feed(Local.REMOVED)
        except StoreGoneError as error:
            self.log.error("%s: %s", self.where, error)

    def _peer_changed(self, _path: str) -> None:
        try:
            self.feed(parse_state(self.store.get(f"{self.peer}/{STATE}")))
        except PeerProtocolError as error:
            self.log.warning("%s: %s", self.where, error)
            self.feed(Local.ERROR)
        except AccessError:
            self.feed(XenbusState.UNKNOWN)
        except StoreGoneError as error:
            self.log.error("%s: %s", self.where, error)

    def _complain(self, level: int, error: XenPvAudioError) -> None:
        """Says what is wrong, once: attempts are repeated for as long as it stays so."""
        if self._complaint != str(error):
            self._complaint = str(error)
            self.log.log(level, "%s: %s", self.where, error)

    async def _work(self) -> None:
        while not self.finished.is_set():
            event = await self._events.get()
            try:
                await self._step(event)
            except PeerProtocolError as error:
                self._complain(logging.WARNING, error)
                self.feed(Local.ERROR)
            except (NotFoundError, AccessError):
                self.feed(Local.REMOVED)
            except XenPvAudioError as error:
                self._complain(logging.ERROR, error)
                self.feed(Local.ERROR)
            except Exception as error:
                self.log.debug("%s", self.where, exc_info=True)
                self._complain(logging.ERROR, internal_error(self.where, error))
                self.feed(Local.ERROR)
        self._disarm()
        if self._rewrite is not None:
            self._rewrite.cancel()
        for watch in self._watches:
            watch.cancel()

    async def _step(self, event: Event) -> None:
        cell = step(self.table, self.state, event)
        timed = Action.ARM_TIMER in cell.actions
        for action in cell.actions:
            if action in (Action.ARM_TIMER, Action.ANNOUNCE, Action.LOOK, Action.FINISH):
                continue
            try:
                await self.act(action)
            except PeerGoneError as error:
                if action is not Action.CONNECT:
                    raise
                # stale references: the guest may be about to publish better ones
                self._complain(logging.WARNING, error)
                self.feed(Local.CONNECT_FAILED)
                return
            except ConfigError as error:
                if action is not Action.CONNECT or self.state is XenbusState.CONNECTED:
                    raise
                # A card that cannot be. Nothing is fed: an answer would make Linux's frontend
                # publish the same again, for ever. Its next state is looked at as usual.
                self._complain(logging.ERROR, error)
                return
        if cell.next is not self.state or timed or Action.FINISH in cell.actions:
            self._disarm()
        announce = cell.next is not self.state or Action.ANNOUNCE in cell.actions
        if announce:
            self.log.debug(
                "%s: %s x %s -> %s", self.where, self.state.name, event.name, cell.next.name
            )
        self.state = cell.next
        if self.state is XenbusState.CONNECTED:
            self._complaint = ""
        # What the new state needs to go on comes first: the store may refuse to hear of it.
        if timed:
            delay = self.timer_sec(self.state)
            self._timer = self._loop.call_later(delay, self.feed, Local.TIMER)
        if Action.FINISH in cell.actions:
            self.finished.set()
        if announce and self.state is not XenbusState.UNKNOWN:
            self._write_state()
        if Action.LOOK in cell.actions:
            self._peer_changed(self.peer)

    def _write_state(self) -> None:
        """Our state as the other end sees it. A store that is lost for now is told later: what we
        are does not depend on it."""
        self._rewrite = None
        try:
            there = write_state(self.store, self.directory, self.state)
        except (NotFoundError, AccessError):
            self.feed(Local.REMOVED)
        except XenStoreError as error:
            self._complain(logging.ERROR, error)
            if not self.finished.is_set():
                self._rewrite = self._loop.call_later(REWRITE_SEC, self._write_state)
        else:
            if not there and not self.finished.is_set():
                self.feed(Local.REMOVED)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
