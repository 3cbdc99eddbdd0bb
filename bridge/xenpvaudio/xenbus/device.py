"""Carries out a xenbus table for one device: what happened is coalesced, one step at a time.

Frontend and backend devices differ in their table, in the directories they watch, and in what the
actions do; the order of things is the same for both and lives here (see xenbus/states.py for it).

Nothing here grows with what a peer writes. What is due is a set: local events, our own state node,
the peer's. A turn serves one of them, then the loop serves others: what we did ourselves first,
since neither a peer nor its pace may delay a STOP; then the peer's newest state, within its pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator

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
from .pace import ATTEMPT_REQUESTS, VIOLATION_REQUESTS, Pace
from .states import STATE, Action, Event, Local, Table, XenbusState, parse_state, step

log = logging.getLogger(__name__)

REWRITE_SEC = 0.5
TOLD_AGAIN_SEC = 30.0
# An event on its way while we read may be of a write that we have read: one more look tells.
LOOKS = 2
WRITE_REQUESTS = 4  # a transaction's
_ATTEMPTS = (Action.CONNECT, Action.PUBLISH)
# What ended a connection, for people. Errors, and a guest that died, were told when found.
_ENDED = {
    XenbusState.UNKNOWN: "the other end is gone from XenStore: waiting for it to return",
    XenbusState.INITIALISING: "the other end has started anew: connecting again",
    XenbusState.INIT_WAIT: "the other end has started anew: connecting again",
    XenbusState.RECONFIGURING: "the other end starts anew: waiting for it",
    XenbusState.CLOSING: "the other end closes the connection: waiting for it to return",
    XenbusState.CLOSED: "the other end has closed the connection: waiting for it to return",
    Local.CHANGED: "the other end has started anew: connecting again",
    Local.REMOVED: "removed from XenStore: the card is gone",
    Local.OFFLINE: "unplugged: the card is gone",
}
# How a device is found that nobody serves, and whoever served it has closed it.
_AT_REST = (XenbusState.UNKNOWN, XenbusState.INITIALISING, XenbusState.CLOSED)


class XenbusDevice(ABC):
    """`directory`: ours in XenStore; `peer`: the other end's; `where`: for people; `lines`: the
    other end's share of the log; `pace`: of its requests, if it has other devices."""

    table: Table

    def __init__(
        self,
        store: XenStore,
        directory: str,
        peer: str,
        where: str,
        lines: PeerLines | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.store = store
        self.directory = directory
        self.peer = peer
        self.where = where
        self.lines = lines or PeerLines(where)
        self.log = self.lines.logger(log)
        self.state = XenbusState.UNKNOWN
        self.finished = asyncio.Event()
        self._local: dict[Local, None] = {}
        self._own_due = self._peer_due = False
        self._due = asyncio.Event()
        self._pace = pace or Pace()
        self._timer: asyncio.TimerHandle | None = None
        self._rewrite: asyncio.TimerHandle | None = None
        self._own_watch: Watch | None = None
        self._peer_watch: Watch | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._complaint = ""
        self._lost = False  # told that the last connection ended, and of none since
        self._told_again_sec = 0.0

    def run(self) -> None:
        """Takes charge of the device."""
        self.feed(Local.START)
        self._task = asyncio.create_task(self._work(), name=self.where)
        try:
            self._tell_of_predecessor()
            self._own_watch = self.store.watch(f"{self.directory}/{STATE}", self._own_changed)
            self._watch_peer()
        except XenStoreError as error:
            log.error("%s: %s", self.where, error)
            self.feed(Local.REMOVED)  # and found again

    def _tell_of_predecessor(self) -> None:
        """In the log, if whoever served the device before has left it as it was: there was a gap
        then for which nobody else is to blame."""
        try:
            left = parse_state(self.store.get(f"{self.directory}/{STATE}"))
        except PeerProtocolError:
            return  # nonsense: our own state is written over it
        if left not in _AT_REST:
            self.log.info(
                "%s: left in state %s by a program that was killed: connecting anew",
                self.where,
                left.name.replace("_", "").lower(),
            )

    def feed(self, event: Local) -> None:
        """One that is due already is not due twice."""
        self._local[event] = None
        self._due.set()

    def look(self) -> None:
        """The peer's state is to be read, and acted on whether or not it is another one."""
        if not self._peer_due:  # else it is due already, perhaps later: nothing to wake for
            self._peer_due = True
            self._due.set()

    @property
    def last_error(self) -> str:
        """What was last complained of, for people; empty since all is well."""
        return self._complaint

    @property
    def idle(self) -> bool:
        """Nothing is due; a step may be under way."""
        return not (self._local or self._own_due or self._peer_due)

    def spend(self, requests: int) -> None:
        """A peer made us do that much."""
        self._pace.spend(self._loop.time(), requests)

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

    @abstractmethod
    async def told(self) -> None:
        """After a state was entered and written: what could wait until then."""

    @contextlib.contextmanager
    def reading_peer(self) -> Iterator[None]:
        """That the peer hides its nodes is its own mistake, and no sign that the device is gone."""
        try:
            yield
        except AccessError as error:
            raise PeerProtocolError(f"the other end hides its nodes: {error}") from None

    # -- events

    def _own_changed(self, _path: str) -> None:
        self._own_due = True
        self._due.set()

    def _peer_changed(self, _path: str) -> None:
        self.look()

    def _look_at_own(self) -> None:
        self._own_due = False
        try:
            if not self.store.exists(self.directory):
                self.feed(Local.REMOVED)
                return
            self.own_changed()
        except AccessError:
            self.feed(Local.REMOVED)
        except StoreGoneError as error:
            self.log.error("%s: %s", self.where, error)

    def _watch_peer(self) -> None:
        if self._peer_watch is None:
            self._peer_watch = self.store.watch(f"{self.peer}/{STATE}", self._peer_changed)

    def _unwatch_peer(self) -> None:
        """While it is held off, what it writes costs nobody an event. It is looked at after that
        whatever it did."""
        if self._peer_watch is not None:
            self._peer_watch.cancel()
            self._peer_watch = None

    def _look_at_peer(self) -> XenbusState | Local | None:
        """None: XenStore is not there; the watch will fire when it is, or is still to be made."""
        try:
            self._watch_peer()
        except XenStoreError as error:
            self._complain(logging.ERROR, error)
            return None
        try:
            return parse_state(self._newest_peer_state())
        except PeerProtocolError as error:
            self.spend(VIOLATION_REQUESTS)
            self._complain(logging.WARNING, error)
            return Local.ERROR
        except AccessError:
            return XenbusState.UNKNOWN
        except StoreGoneError as error:
            self.log.error("%s: %s", self.where, error)
            return None

    def _newest_peer_state(self) -> str | None:
        text = None
        for _ in range(LOOKS):
            self._peer_due = False
            assert self._peer_watch is not None
            self._peer_watch.skip()
            self.spend(1)
            text = self.store.get(f"{self.peer}/{STATE}")
            if not self._peer_watch.pending:
                break
        return text

    async def _next(self) -> Event:
        """What is to be served next, as soon as there is something."""
        while True:
            if self._own_due:
                self._look_at_own()
            if self._local:
                first = next(iter(self._local))
                del self._local[first]
                return first
            self._due.clear()
            wait_sec = None
            if self._peer_due:
                wait_sec = self._pace.wait_sec(self._loop.time())
                if wait_sec > 0:
                    self._unwatch_peer()
                elif (event := self._look_at_peer()) is not None:
                    return event
                elif self._peer_due:
                    wait_sec = REWRITE_SEC
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_sec or None):
                    await self._due.wait()

    def _complain(self, level: int, error: XenPvAudioError) -> None:
        """Says what is wrong, once: attempts are repeated for as long as it stays so."""
        if self._complaint != str(error):
            self._complaint = str(error)
            self.log.log(level, "%s: %s", self.where, error)

    async def _work(self) -> None:
        while not self.finished.is_set():
            await asyncio.sleep(0)  # others have their turn
            try:
                await self._step(await self._next())
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
        for watch in (self._own_watch, self._peer_watch):
            if watch is not None:
                watch.cancel()

    async def _step(self, event: Event) -> None:
        cell = step(self.table, self.state, event)
        timed = Action.ARM_TIMER in cell.actions
        for action in cell.actions:
            if action in (Action.ARM_TIMER, Action.ANNOUNCE, Action.LOOK, Action.FINISH):
                continue
            if action in _ATTEMPTS:
                self.spend(ATTEMPT_REQUESTS)
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
        self._tell(event, cell.actions, cell.next)
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
            self.spend(WRITE_REQUESTS)
            self._write_state()
        if Action.LOOK in cell.actions:
            self.look()
        if announce and not self.finished.is_set():
            await self.told()

    def _tell(self, event: Event, actions: tuple[Action, ...], new: XenbusState) -> None:
        """In the log, that a connection has ended, and that there is one again. What goes on and on
        is told once in a while."""
        ends = Action.DETACH in actions or Action.DISCONNECT in actions
        now_sec = self._loop.time()
        if (
            self.state is XenbusState.CONNECTED
            and ends
            and event in _ENDED
            and now_sec >= self._told_again_sec
        ):
            self._lost = True
            self._told_again_sec = now_sec + TOLD_AGAIN_SEC
            self.log.info("%s: %s", self.where, _ENDED[event])
        if new is XenbusState.CONNECTED and self._lost:
            self._lost = False
            self.log.info("%s: connected again", self.where)

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
