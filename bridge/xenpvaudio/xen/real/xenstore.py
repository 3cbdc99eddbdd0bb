"""XenStore through pyxs: operations, transactions, watches, and the way back after a loss.

Threads: calls come from the control plane's thread and wait for the daemon's answer, at most
`timeout_sec`. Events arrive in the link's thread, which only hands them to the asyncio loop. After
a loss that same thread reconnects and registers every watch again, so each callback fires anew and
its owner reads what changed meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from xenpvaudio.errors import UnavailableError
from xenpvaudio.xen.api import (
    ConflictError,
    LostCallback,
    Names,
    SlowCallback,
    StoreGoneError,
    T,
    Txn,
    Watch,
    WatchCallback,
    XenStoreError,
)

from .waits import Waits
from .xs_link import CONNECT_ERRORS, Link, Op, UnixLink, XenbusLink
from .xs_requests import Requests, number, path_bytes, text

CallSoon: TypeAlias = Callable[..., object]
"""How a callback gets to the control plane's thread, like loop.call_soon_threadsafe."""

TIMEOUT_SEC = 5.0
SOCKET_PATHS = ("/run/xenstored/socket", "/var/run/xenstored/socket")
XENBUS_PATH = "/dev/xen/xenbus"
_RECONNECT_FIRST_SEC, _RECONNECT_LAST_SEC = 0.01, 1.0
MOST_UNTOLD_PATHS = 64


class _Watch:
    """One registration. `token` is the whole identity: two watches of one path do not mix.

    Whoever may write below the path chooses how many events come, so what is kept of them is a set
    of paths, and the loop is asked for one call at a time, whatever comes meanwhile.
    """

    def __init__(
        self, store: PyxsStore, path: str, callback: WatchCallback, call_soon: CallSoon, token: str
    ) -> None:
        self.path = path
        self.token = token
        self.active = True
        self._store = store
        self._callback = callback
        self._call_soon = call_soon
        self._lock = threading.Lock()  # of these two: the link's thread adds, the loop's takes
        self._untold: dict[str, None] = {}
        self._asked = False

    @property
    def pending(self) -> bool:
        return bool(self._untold)

    def skip(self) -> None:
        with self._lock:
            self._untold.clear()

    def body(self) -> bytes:
        return path_bytes(self.path) + self.token.encode() + b"\0"

    def post(self, path: str) -> None:
        with self._lock:
            if len(self._untold) >= MOST_UNTOLD_PATHS:
                self._untold.clear()
                path = self.path
            self._untold[path] = None
            if self._asked:
                return
            self._asked = True
        post(self._call_soon, self._fire)

    def _fire(self) -> None:
        """Tells the oldest; the rest after others had their turn."""
        with self._lock:
            path = next(iter(self._untold), None)
            self._untold.pop(path or "", None)
            more = self._asked = bool(self._untold)
        if more:
            post(self._call_soon, self._fire)
        if path is not None and self.active:
            self._callback(path)

    def cancel(self) -> None:
        if self.active:
            self.active = False
            self._store.unwatch(self)


def post(call_soon: CallSoon, fn: Callable[..., None], *args: object) -> None:
    """Hands a call to the loop; a loop that is closed already wants none."""
    try:
        call_soon(fn, *args)
    except RuntimeError as error:
        if "closed" not in str(error):
            raise


class PyxsStore:
    """api.XenStore over a connection made by `connect` (a pyxs PacketConnection).

    `call_soon`: default, the running asyncio loop's call_soon_threadsafe at the time of watch().
    `on_lost` and `on_slow` are posted the same way, or called from the thread that finds it if no
    loop was ever known.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        domid: int | None = None,
        reconnect: bool = True,
        call_soon: CallSoon | None = None,
        timeout_sec: float = TIMEOUT_SEC,
    ) -> None:
        self.on_lost: LostCallback | None = None
        self.on_slow: SlowCallback | None = None
        self._waits = Waits()
        self._connect = connect
        self._reconnect = reconnect
        self._call_soon = call_soon
        self._timeout_sec = timeout_sec
        self._watches: dict[str, _Watch] = {}
        self._tokens = 0
        # Held while watches are (de)registered, so that a reconnection misses none.
        self._watch_lock = threading.RLock()
        self._closing = threading.Event()
        with self._watch_lock:  # a link that dies at once waits for its place
            self._link = self._new_link()
        try:
            if domid is None:
                domid = number(self.read("domid").encode("utf-8", "surrogateescape"), "read domid")
            self._domid = domid
        except BaseException:
            self.close()
            raise

    @property
    def domid(self) -> int:
        return self._domid

    def request(self, op: int, what: str, body: bytes) -> bytes:
        """A raw operation outside transactions, for those the Protocol leaves out (INTRODUCE);
        `what` completes "cannot ...". Returns the answer's body."""
        return self._plain().ask(op, what, body)

    def read(self, path: str) -> str:
        return self._plain().read(path)

    def get(self, path: str, default: str | None = None) -> str | None:
        return self._plain().get(path, default)

    def write(self, path: str, value: str) -> None:
        self._plain().write(path, value)

    def mkdir(self, path: str) -> None:
        self._plain().mkdir(path)

    def remove(self, path: str) -> None:
        self._plain().remove(path)

    def exists(self, path: str) -> bool:
        return self._plain().exists(path)

    def list(self, path: str) -> Names:
        return self._plain().list(path)

    def get_perms(self, path: str) -> Names:
        return self._plain().get_perms(path)

    def set_perms(self, path: str, perms: Sequence[str]) -> None:
        self._plain().set_perms(path, perms)

    def domain_path(self, domid: int) -> str:
        what = f"ask for the home of domain {domid}"
        return text(self.request(Op.GET_DOMAIN_PATH, what, b"%d\0" % domid).rstrip(b"\0"))

    def transact(self, fn: Callable[[Txn], T], attempts: int = 10) -> T:
        failure: XenStoreError = ConflictError("XenStore: a transaction had no attempt")
        for attempt in range(attempts):
            time.sleep(0.001 * attempt)  # let the other side finish
            tx = self._begin()
            try:
                result = fn(tx)
            except BaseException:
                with contextlib.suppress(XenStoreError):  # the first error says more
                    tx.ask(Op.TRANSACTION_END, "drop a transaction", b"F\0")
                raise
            try:
                tx.ask(Op.TRANSACTION_END, "end a transaction", b"T\0")
            except XenStoreError as error:
                # xenstored counts nodes before it looks for conflicts, and a conflict may make
                # its count impossible: ENOMEM (xenstored_transaction.c transaction_fix_domains).
                if error.code not in (errno.EAGAIN, errno.ENOMEM):
                    raise
                failure = error
            else:
                return result
        if isinstance(failure, ConflictError):
            failure = ConflictError(f"XenStore: a transaction met other changes {attempts} times")
        raise failure

    def _begin(self) -> Requests:
        link = self._link  # one link for the whole transaction
        plain = Requests(link, 0, self._timeout_sec)
        what = "start a transaction"
        answer = plain.ask(Op.TRANSACTION_START, what, b"\0")
        return Requests(link, number(answer, what), self._timeout_sec)

    def watch(self, path: str, callback: WatchCallback) -> Watch:
        call_soon = self._call_soon or self._running_loop()
        with self._watch_lock:
            self._tokens += 1
            watch = _Watch(self, path, callback, call_soon, f"xpa{self._tokens}")
            body = watch.body()
            # Before the request: over the kernel's device the first event may come first.
            self._watches[watch.token] = watch
            try:
                self.request(Op.WATCH, f"watch {path}", body)
            except BaseException:
                watch.active = False
                del self._watches[watch.token]
                raise
        return watch

    def unwatch(self, watch: _Watch) -> None:
        with self._watch_lock:
            if self._watches.pop(watch.token, None) is None:
                return
            with contextlib.suppress(XenStoreError):  # a dead connection has no watches
                self.request(Op.UNWATCH, f"unwatch {watch.path}", watch.body())

    def close(self) -> None:
        self._closing.set()
        self._link.terminate()
        with self._watch_lock:
            for watch in self._watches.values():
                watch.active = False
            self._watches.clear()
            self._link.terminate()  # one that a reconnection made meanwhile

    def _plain(self) -> Requests:
        return Requests(self._link, 0, self._timeout_sec)

    def _running_loop(self) -> CallSoon:
        import asyncio

        self._call_soon = asyncio.get_running_loop().call_soon_threadsafe
        return self._call_soon

    def _new_link(self) -> Link:
        link = Link(self._connect(), self._on_event, self._on_death)
        link.on_answer = self._answered
        try:
            link.start()
        except CONNECT_ERRORS:
            link.r_terminator.close()
            link.w_terminator.close()
            raise
        return link

    def _on_event(self, path: bytes, token: bytes) -> None:
        watch = self._watches.get(text(token))
        if watch is not None:  # else: cancelled while the event was on its way
            watch.post(text(path))

    def _on_death(self, link: Link, failure: Exception) -> None:
        with self._watch_lock:
            if link is not self._link or self._closing.is_set():
                return  # it was never put in place: whoever made it goes on
        self._report(StoreGoneError(f"XenStore's connection broke: {failure}"))
        pause_sec = _RECONNECT_FIRST_SEC
        while self._reconnect and not self._closing.wait(pause_sec):
            pause_sec = min(2 * pause_sec, _RECONNECT_LAST_SEC)
            try:
                link = self._new_link()
            except CONNECT_ERRORS:
                continue
            with self._watch_lock:
                if link.failure is not None:
                    continue
                self._link = link
                if self._closing.is_set():
                    link.terminate()
                else:
                    self._watch_again(link)
                return

    def _watch_again(self, link: Link) -> None:
        for watch in list(self._watches.values()):
            try:
                self.request(Op.WATCH, f"watch {watch.path} again", watch.body())
            except StoreGoneError as error:
                link.abort(error)  # its own thread tries again, with all watches
                return
            except XenStoreError as error:
                self._report(error)

    def _answered(self, waited_sec: float) -> None:
        slow = self._waits.add(time.monotonic(), waited_sec)
        if slow is not None and self.on_slow is not None:
            self._tell(self.on_slow, *slow)

    def _report(self, error: XenStoreError) -> None:
        if self.on_lost is not None:
            self._tell(self.on_lost, error)

    def _tell(self, whom: Callable[..., None], *what: object) -> None:
        if self._call_soon is not None:
            post(self._call_soon, whom, *what)
        else:
            whom(*what)


def open_socket(
    path: str,
    *,
    domid: int | None = 0,
    call_soon: CallSoon | None = None,
    timeout_sec: float = TIMEOUT_SEC,
) -> PyxsStore:
    """A store on a daemon's socket; UnavailableError if nobody answers there."""
    try:
        return PyxsStore(
            lambda: UnixLink(path),
            domid=domid,
            call_soon=call_soon,
            timeout_sec=timeout_sec,
        )
    except CONNECT_ERRORS as error:
        raise UnavailableError(
            f"XenStore does not answer at {path} ({_reason(error)})",
            hint="is xenstored running, and are you root?",
        ) from error


def open_xenbus(
    path: str = XENBUS_PATH,
    *,
    domid: int | None = None,
    call_soon: CallSoon | None = None,
    timeout_sec: float = TIMEOUT_SEC,
) -> PyxsStore:
    """A store on the kernel's device; UnavailableError if it cannot be opened."""
    try:
        return PyxsStore(
            lambda: XenbusLink(path), domid=domid, call_soon=call_soon, timeout_sec=timeout_sec
        )
    except CONNECT_ERRORS as error:
        raise UnavailableError(
            f"XenStore cannot be reached through {path} ({_reason(error)})",
            hint="run as root in a Xen domain (modprobe xenfs if the device is missing)",
        ) from error


def open_store(call_soon: CallSoon | None = None) -> PyxsStore:
    """This machine's XenStore: $XENSTORED_PATH, else xenstored's socket, else the kernel's device.

    UnavailableError, one line that says what to do, where there is none.
    """
    named = os.environ.get("XENSTORED_PATH")
    if named:
        return open_socket(named, call_soon=call_soon)
    for path in SOCKET_PATHS:
        if os.path.exists(path):
            return open_socket(path, call_soon=call_soon)
    if os.path.exists(XENBUS_PATH):
        return open_xenbus(call_soon=call_soon)
    raise UnavailableError(
        "no XenStore here: neither xenstored's socket nor /dev/xen/xenbus",
        hint="run in a Xen domain, or set XEN_PV_AUDIO_SIM=DIR:DOMID for a simulated one",
    )


def _reason(error: BaseException) -> str:
    """pyxs hides the errno in its message: take the innermost words."""
    if isinstance(error.__context__, OSError):
        error = error.__context__
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
