"""The simulated xenstored: the wire protocol of io/xs_wire.h for many connections. No sockets here.

A connection belongs to a domain; bytes come in by feed(), bytes for it leave by its `send`. One
thread, the hypervisor's. What a domain may see and do is decided in store.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from . import store
from .store import Access, Change, Perm, RefusedError, Transaction, Tree

HEADER = struct.Struct("=IIII")
PAYLOAD_MAX = 4096
WATCH_EVENT, ERROR = 15, 16
SPECIAL = ("@introduceDomain", "@releaseDomain")
PRIVILEGED = ("INTRODUCE", "RELEASE", "IS_DOMAIN_INTRODUCED")


class _Watch(NamedTuple):
    path: str
    token: str
    relative: bool


class _Payload:
    """Strings that end in NUL, and after them perhaps anything."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def strings(self, count: int) -> list[str]:
        """Exactly `count` strings, or (count 0) one or more."""
        if not self._data.endswith(b"\0"):
            raise RefusedError("EINVAL")
        fields = self._data[:-1].decode("utf-8", "surrogateescape").split("\0")
        if count and len(fields) != count:
            raise RefusedError("EINVAL")
        return fields

    def string(self) -> str:
        return self.strings(1)[0]

    def string_and_rest(self) -> tuple[str, bytes]:
        text, nul, rest = self._data.partition(b"\0")
        if not nul:
            raise RefusedError("EINVAL")
        return text.decode("utf-8", "surrogateescape"), rest

    def domid(self) -> int:
        return _domid(self.string())


def _domid(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) >= 0x7FF0:  # DOMID_FIRST_RESERVED
        raise RefusedError("EINVAL")
    return int(text)


class StoreConnection:
    """One client. `send` takes bytes for it; after BrokenPeerError it must be dropped."""

    def __init__(self, daemon: SimXenstored, domid: int, send: Callable[[bytes], None]) -> None:
        self.domid = domid
        self.watches: list[_Watch] = []
        self.transactions: dict[int, Transaction] = {}
        self.refuses = ""
        """The error with which all that adds something is answered."""
        self._next_transaction = 1
        self._daemon = daemon
        self._send = send
        self._buffer = bytearray()
        self._after_reply: list[Callable[[], None]] = []

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            kind, request_id, tx_id, length = HEADER.unpack_from(self._buffer)
            if length > PAYLOAD_MAX:
                raise BrokenPeerError(f"message of {length} bytes")
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEADER.size : end])
            del self._buffer[:end]
            self._answer(kind, request_id, tx_id, body)

    def _answer(self, kind: int, request_id: int, tx_id: int, body: bytes) -> None:
        try:
            answer = self._handle(kind, tx_id, _Payload(body))
            if len(answer) > PAYLOAD_MAX:
                raise RefusedError("E2BIG")
        except RefusedError as error:
            kind, answer = ERROR, error.name.encode() + b"\0"
        self._send(HEADER.pack(kind, request_id, tx_id, len(answer)) + answer)
        later, self._after_reply = self._after_reply, []
        for call in later:
            call()

    def _handle(self, kind: int, tx_id: int, payload: _Payload) -> bytes:
        name = OPERATIONS.get(kind)
        if name is None:
            raise RefusedError("ENOSYS")
        if name in PRIVILEGED and self.domid != 0:
            raise RefusedError("EACCES")
        if self.refuses and name in ("WRITE", "MKDIR"):
            raise RefusedError(self.refuses)
        transaction = None
        if tx_id and name not in ("WATCH", "UNWATCH"):
            transaction = self.transactions.get(tx_id)
            if transaction is None:
                raise RefusedError("ENOENT")
        if name in ("TRANSACTION_START", "TRANSACTION_END"):
            return self._transaction(name, tx_id, payload)
        # A failed operation leaves nothing behind: it runs on a copy of the view's changes.
        step = Transaction(transaction or self._daemon.tree)
        access = Access(step, self.domid)
        operation: Callable[[Access, _Payload], bytes] = getattr(self, f"_{name.lower()}")
        try:
            answer = operation(access, payload)
        except RefusedError as error:
            if transaction is not None and error.name == "ENOSPC":
                transaction.failed = True
            raise
        step.commit()
        if transaction is not None:
            transaction.tell(access.changes)
        else:
            self._daemon.fire(access.changes)
        return answer

    def _transaction(self, name: str, tx_id: int, payload: _Payload) -> bytes:
        if name == "TRANSACTION_START":
            if tx_id:
                raise RefusedError("EBUSY")
            limit = store.TRANSACTIONS_PER_DOMAIN
            if self.domid and len(self.transactions) > limit:
                raise RefusedError("ENOSPC")
            number, self._next_transaction = self._next_transaction, self._next_transaction + 1
            self.transactions[number] = Transaction(self._daemon.tree)
            return b"%d\0" % number
        how = payload.string()
        if how not in ("T", "F"):
            raise RefusedError("EINVAL")
        transaction = self.transactions.pop(tx_id, None)
        if transaction is None:
            raise RefusedError("ENOENT")
        if how == "T":
            self._daemon.fire(transaction.commit())
        return b"OK\0"

    def _path(self, raw: str) -> str:
        return store.absolute(raw, self.domid)

    def _read(self, access: Access, payload: _Payload) -> bytes:
        return access.node(self._path(payload.string())).value

    def _directory(self, access: Access, payload: _Payload) -> bytes:
        return _names(access.node(self._path(payload.string())).children)

    def _directory_part(self, access: Access, payload: _Payload) -> bytes:
        path, start = payload.strings(2)
        node = access.node(self._path(path))
        generation = b"%d\0" % node.generation
        rest = _names(node.children)[int(start) if re.fullmatch("[0-9]{1,9}", start) else 0 :]
        room = PAYLOAD_MAX - len(generation) - 1
        if len(rest) <= room:
            return generation + rest + b"\0"
        return generation + rest[: rest.rindex(b"\0", 0, room) + 1]

    def _write(self, access: Access, payload: _Payload) -> bytes:
        path, value = payload.string_and_rest()
        access.write(self._path(path), value)
        return b"OK\0"

    def _mkdir(self, access: Access, payload: _Payload) -> bytes:
        access.mkdir(self._path(payload.string()))
        return b"OK\0"

    def _rm(self, access: Access, payload: _Payload) -> bytes:
        access.remove(self._path(payload.string()))
        return b"OK\0"

    def _get_perms(self, access: Access, payload: _Payload) -> bytes:
        perms = access.node(self._path(payload.string())).perms
        return _names(f"{store.LETTERS[perm.access]}{perm.domid}" for perm in perms)

    def _set_perms(self, access: Access, payload: _Payload) -> bytes:
        path, *fields = payload.strings(0)
        if not fields:
            raise RefusedError("EINVAL")
        perms = store.parse_perms(fields)
        perms = store.checked_perms(perms, self._daemon.exists)
        if path.startswith("@"):
            self._daemon.set_special_perms(self.domid, path, perms)
        else:
            access.set_perms(self._path(path), perms)
        return b"OK\0"

    def _watch(self, _access: Access, payload: _Payload) -> bytes:
        raw, token = payload.strings(2)
        special = raw.startswith("@")
        path = raw if special else self._path(raw)
        watch = _Watch(path, token, not special and not raw.startswith("/"))
        if any((w.path, w.token) == (path, token) for w in self.watches):
            raise RefusedError("EEXIST")
        if self.domid and self._daemon.watches_of(self.domid) > store.WATCHES_PER_DOMAIN:
            raise RefusedError("E2BIG")
        self.watches.append(watch)
        self._after_reply.append(lambda: self.event(watch, path))
        return b"OK\0"

    def _unwatch(self, _access: Access, payload: _Payload) -> bytes:
        raw, token = payload.strings(2)
        path = raw if raw.startswith("@") else self._path(raw)
        for watch in self.watches:
            if (watch.path, watch.token) == (path, token):
                self.watches.remove(watch)
                return b"OK\0"
        raise RefusedError("ENOENT")

    def _reset_watches(self, _access: Access, _payload: _Payload) -> bytes:
        self.watches.clear()
        self.transactions.clear()
        return b"OK\0"

    def _get_domain_path(self, _access: Access, payload: _Payload) -> bytes:
        return store.home(payload.domid()).encode() + b"\0"

    def _introduce(self, _access: Access, payload: _Payload) -> bytes:
        domid = _domid(payload.strings(3)[0])  # the ring's page and port mean nothing here
        self._after_reply.append(lambda: self._daemon.introduce(domid))
        return b"OK\0"

    def _release(self, _access: Access, payload: _Payload) -> bytes:
        domid = payload.domid()
        if domid == 0 or not self._daemon.is_introduced(domid):
            raise RefusedError("EINVAL" if domid == 0 else "ENOENT")
        self._after_reply.append(lambda: self._daemon.release(domid))
        return b"OK\0"

    def _is_domain_introduced(self, _access: Access, payload: _Payload) -> bytes:
        return b"T\0" if self._daemon.is_introduced(payload.domid()) else b"F\0"

    def event(self, watch: _Watch, path: str) -> None:
        if watch.relative:
            path = path[len(store.home(self.domid)) :].lstrip("/")
        body = _names((path, watch.token))
        self._send(HEADER.pack(WATCH_EVENT, 0, 0, len(body)) + body)


class BrokenPeerError(Exception):
    """A client broke the wire protocol: drop it."""


class SimXenstored:
    """The tree, who is connected, which domains were introduced. `exists` tells which domains
    the hypervisor has: permissions may name one before it is introduced."""

    def __init__(self, exists: Callable[[int], bool]) -> None:
        self.exists = exists
        self.tree = Tree()
        self.connections: list[StoreConnection] = []
        self._introduced = {0}
        self._special_perms: dict[str, store.Perms] = {name: (Perm(0, 0),) for name in SPECIAL}

    def connect(self, domid: int, send: Callable[[bytes], None]) -> StoreConnection:
        connection = StoreConnection(self, domid, send)
        self.connections.append(connection)
        return connection

    def disconnect(self, connection: StoreConnection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)

    def value(self, path: str) -> bytes | None:
        """Of a node, whoever may read it."""
        node = self.tree.node(path)
        return None if node is None else node.value

    def is_introduced(self, domid: int) -> bool:
        return domid in self._introduced

    def watches_of(self, domid: int) -> int:
        return sum(len(c.watches) for c in self.connections if c.domid == domid)

    def introduce(self, domid: int) -> None:
        self._introduced.add(domid)
        self._fire_special("@introduceDomain")

    def release(self, domid: int) -> None:
        """The domain is gone: its connections, its nodes, then everyone hears of it."""
        if domid not in self._introduced:
            return
        self._introduced.remove(domid)
        self.connections = [c for c in self.connections if c.domid != domid]
        self.fire(self.tree.forget_domain(domid))
        self._fire_special("@releaseDomain")

    def set_special_perms(self, domid: int, name: str, perms: store.Perms) -> None:
        if name not in SPECIAL:
            raise RefusedError("EINVAL")
        if domid != 0:
            raise RefusedError("EACCES")
        self._special_perms[name] = perms

    def fire(self, changes: list[Change]) -> None:
        for change in changes:
            for connection in list(self.connections):
                if not change.readable(connection.domid):
                    continue
                for watch in list(connection.watches):
                    below = not change.exact and store.is_below(change.path, watch.path)
                    if below or change.path == watch.path:
                        connection.event(watch, change.path)

    def _fire_special(self, name: str) -> None:
        node = store.Node(b"", self._special_perms[name], (), 0)
        for connection in list(self.connections):
            if node.access(connection.domid) & store.READ:
                for watch in [w for w in connection.watches if w.path == name]:
                    connection.event(watch, name)


def _names(names: Iterable[str]) -> bytes:
    return b"".join(name.encode("utf-8", "surrogateescape") + b"\0" for name in names)


OPERATIONS = {
    1: "DIRECTORY",
    2: "READ",
    3: "GET_PERMS",
    4: "WATCH",
    5: "UNWATCH",
    6: "TRANSACTION_START",
    7: "TRANSACTION_END",
    8: "INTRODUCE",
    9: "RELEASE",
    10: "GET_DOMAIN_PATH",
    11: "WRITE",
    12: "MKDIR",
    13: "RM",
    14: "SET_PERMS",
    17: "IS_DOMAIN_INTRODUCED",
    21: "RESET_WATCHES",
    22: "DIRECTORY_PART",
}
"""enum xsd_sockmsg_type, those that are served."""
