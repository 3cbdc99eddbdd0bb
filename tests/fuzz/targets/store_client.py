"""Our XenStore client before a daemon that sends any bytes.

Invariant: cut in any pieces, the same bytes are the same messages, and only one that is longer than
the protocol allows is an error; an answer goes to who waits for its request id, once, and to nobody
else; and each call returns what it says that it returns, or raises XenStoreError.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from fuzz.source import Source
from fuzz.targets.store_daemon import whole
from xenpvaudio.xen.api import StoreGoneError, XenStoreError
from xenpvaudio.xen.real import xenstore, xs_link
from xenpvaudio.xen.real.xenstore import PyxsStore

ERRORS = (b"ENOENT", b"EACCES", b"E2BIG", b"EAGAIN", b"ENOMEM", b"EINVAL", b"ENOSPC", b"EISCONN")
WORDS = (
    b"",
    b"1",
    b"0",
    b"OK",
    b"4294967296",
    b"-1",
    b"x",
    b"a\0b\0",
    b"1\0state\0",
    b"\0",
    b"7\0\0",
)


# --- the bytes ------------------------------------------------------------------------------------


def _stream(source: Source) -> bytes:
    out = b""
    for _ in range(source.below(20)):
        body = source.raw(source.below(60))
        length = len(body) if source.below(16) else source.number(4)
        header = (source.number(), source.below(8), source.below(4), length)
        out += xs_link.HEADER.pack(*header) + body
    return out + source.raw(source.below(20))


def _read(pieces: list[bytes]) -> tuple[list[tuple[int, int, bytes]], bytes, bool]:
    """Messages, what is left over, and whether the bytes were refused."""
    buffer = bytearray()
    found: list[tuple[int, int, bytes]] = []
    for piece in pieces:
        buffer += piece
        try:
            found.extend(xs_link._messages(buffer))
        except OSError as error:
            assert error.errno == errno.EPROTO, error
            return found, b"", True
    return found, bytes(buffer), False


def _check_messages(stream: bytes, step: int) -> list[tuple[int, int, bytes]]:
    found, left, refused = _read([stream])
    there, too_long = whole(stream)
    assert refused == too_long, "a length that the protocol forbids is taken, or another is not"
    assert [message[:2] for message in found] == there
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    again, again_left, again_refused = _read(pieces)
    assert (again_left, again_refused) == (left, refused), "it matters how the bytes were cut"
    assert again == found or refused  # of refused bytes, a piece may hold more messages
    size = sum(xs_link.HEADER.size + len(body) for _, _, body in found)
    assert refused or size + len(left) == len(stream), "bytes were lost"
    assert all(len(body) <= 4096 for _, _, body in found)
    return found


# --- who gets what --------------------------------------------------------------------------------


def _check_dispatch(messages: list[tuple[int, int, bytes]]) -> None:
    events: list[tuple[bytes, bytes]] = []
    link = xs_link.Link.__new__(xs_link.Link)  # its thread is not wanted
    link.send_lock = _NoLock()
    link._on_event = lambda path, token: events.append((path, token))
    waiting = {number: xs_link._Answer() for number in range(1, 5)}
    link._answers = dict(waiting)
    wanted: dict[int, tuple[int, bytes]] = {}
    for kind, request_id, body in messages:
        link._dispatch(kind, request_id, body)
        if kind != xs_link.Op.WATCH_EVENT and request_id in waiting:
            wanted.setdefault(request_id, (kind, body))
    for number, answer in waiting.items():
        assert answer.ready.is_set() == (number in wanted)
        if number in wanted:
            assert (answer.kind, answer.body) == wanted[number], "somebody else's answer"
    count = sum(kind == xs_link.Op.WATCH_EVENT for kind, _, _ in messages)
    assert len(events) == count and not any(b"\0" in part for event in events for part in event)


class _NoLock:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


# --- calls ----------------------------------------------------------------------------------------


class _Scripted:
    """A link whose answers the input says; then it is dead."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.asked = 0
        self.foreign = False
        """An answer was of another type than what was asked."""

    def request(self, op: int, body: bytes, _tx_id: int, _timeout_sec: float) -> tuple[int, bytes]:
        assert len(body) <= 4096, "a request that is too long was sent"
        self.asked += 1
        source = self._source
        if not source.left or self.asked > 300:
            raise StoreGoneError("no more answers")
        choice = source.below(8)
        if choice == 0:
            return xs_link.Op.ERROR, source.pick((*ERRORS, source.raw(8))) + b"\0"
        if choice == 1:
            return xs_link.Op.ERROR, source.pick(sorted(map(str.encode, dir(errno)))) + b"\0"
        if choice == 2:
            kind = source.number()
            self.foreign = kind not in (op, xs_link.Op.ERROR) and op != xs_link.Op.UNWATCH
            return kind, source.raw(source.below(60))
        if choice < 6:
            return op, source.pick(WORDS)
        return op, source.raw(source.below(100))

    def terminate(self) -> None: ...


def _store(script: _Scripted, source: Source) -> PyxsStore:
    class Store(xenstore.PyxsStore):
        def _new_link(self) -> Any:
            return script

    domid = 1 if source.below(8) else None  # None: it asks
    return Store(lambda: None, domid=domid, call_soon=lambda fn, *args: fn(*args))


def _list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


CALLS: tuple[tuple[Callable[[PyxsStore, str], object], Callable[[object], bool]], ...] = (
    (lambda store, path: store.read(path), lambda value: isinstance(value, str)),
    (lambda store, path: store.get(path), lambda value: value is None or isinstance(value, str)),
    (lambda store, path: store.list(path), _list_of_text),
    (lambda store, path: store.get_perms(path), _list_of_text),
    (lambda store, path: store.exists(path), lambda value: isinstance(value, bool)),
    (lambda store, path: store.domain_path(7), lambda value: isinstance(value, str)),
    (lambda store, path: store.write(path, path * 50), lambda value: value is None),
    (lambda store, path: store.mkdir(path), lambda value: value is None),
    (lambda store, path: store.remove(path), lambda value: value is None),
    (lambda store, path: store.set_perms(path, ["n0", path]), lambda value: value is None),
    (
        lambda store, path: store.transact(lambda tx: tx.get(path), attempts=2),
        lambda value: value is None or isinstance(value, str),
    ),
    (lambda store, path: store.watch(path, lambda _: None).cancel(), lambda value: value is None),
)


def _check_calls(source: Source) -> int:
    script = _Scripted(source)
    try:
        store = _store(script, source)
    except XenStoreError:
        return script.asked
    while source.left and script.asked < 300:
        call, fits = source.pick(CALLS)
        script.foreign = False
        try:
            value = call(store, source.text(100))
        except XenStoreError as error:
            assert "\n" not in str(error)
        else:
            assert fits(value), f"{value!r} came back"
            assert not script.foreign, "an answer of another type is believed"
    store.close()
    return script.asked


def run(data: bytes) -> int:
    """How many messages and answers there were."""
    source = Source(data)
    messages = _check_messages(_stream(source), 1 + source.below(50))
    _check_dispatch(messages)
    return len(messages) + _check_calls(source)
