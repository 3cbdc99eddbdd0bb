"""What the simulated hypervisor waits on: hypercalls and XenStore requests of every domain.

One thread, the hypervisor's.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING

from .paths import (
    HYPERCALLS,
    MESSAGE_REFS,
    NoRoomError,
    receive_message,
    send_message,
    socket_path,
)
from .tables import Json, Process, refuse
from .trouble import Trouble
from .xenstored import BrokenPeerError, StoreConnection

if TYPE_CHECKING:
    from .hypervisor import Hypervisor

MAX_UNSENT_BYTES = 4 << 20
"""A XenStore client that reads nothing is dropped at this."""

Reply = tuple[Json, list[int]]


class Socket:
    """Something in the selector; `domid` is whose it is."""

    def __init__(self, hypervisor: Hypervisor, sock: socket.socket, domid: int) -> None:
        self.hypervisor, self.sock, self.domid = hypervisor, sock, domid
        sock.setblocking(False)
        hypervisor.selector.register(sock, selectors.EVENT_READ, self)

    def ready(self, events: int) -> None:
        raise NotImplementedError

    def peer_pid(self) -> int:
        """Of the process that connected."""
        size = struct.calcsize("3i")
        pid, _uid, _gid = struct.unpack(
            "3i", self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
        return int(pid)

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            self.hypervisor.selector.unregister(self.sock)
            self.sock.close()


class Listener(Socket):
    def __init__(self, hypervisor: Hypervisor, domid: int, name: str, kind: int) -> None:
        sock = socket.socket(socket.AF_UNIX, kind)
        try:
            sock.bind(socket_path(hypervisor.directory, domid, name))
            sock.listen(64)
        except OSError:
            sock.close()
            raise
        self.name = name
        self._accepted = HypercallSocket if name == HYPERCALLS else StoreSocket
        super().__init__(hypervisor, sock, domid)

    def ready(self, events: int) -> None:
        try:
            sock, _address = self.sock.accept()
        except OSError:
            return  # gone again, or no descriptor left
        self._accepted(self.hypervisor, sock, self.domid)


class HypercallSocket(Socket):
    def __init__(self, hypervisor: Hypervisor, sock: socket.socket, domid: int) -> None:
        super().__init__(hypervisor, sock, domid)
        self.process = Process(hypervisor.tables, domid)
        self._pid = self.peer_pid()

    def ready(self, events: int) -> None:
        try:
            data, fds = receive_message(self.sock)
            for fd in fds:  # none is asked for
                os.close(fd)
        except NoRoomError as lost:
            data = lost.data
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        reply = self._answer(data)
        if reply is None:
            return
        answer, fds = reply
        try:
            send_message(self.sock, json.dumps(answer).encode(), fds)
        except OSError:
            self.close()  # dead, or asks without reading

    def _answer(self, data: bytes) -> Reply | None:
        troubles = self.hypervisor.troubles
        try:
            call = json.loads(data)
            if troubles.holds_call(self.domid, self._pid, call):
                return None
            troubles.refuse_call(self.domid, self._pid, call)
            return self._call(str(call.pop("op")), call)
        except OSError as error:
            return {"errno": error.errno, "why": error.strerror}, []
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return {"errno": errno.EINVAL, "why": f"not a hypercall: {error!r}"}, []

    def _call(self, op: str, call: Json) -> Reply:
        process = self.process
        if op == "grant":
            return process.grant(int(call["domid"]), int(call["pages"]))
        if op == "map":
            refs = [int(ref) for ref in call["refs"]]
            if not 0 < len(refs) <= MESSAGE_REFS:
                raise refuse(errno.EINVAL, "too many references, or none")
            return process.map(int(call["domid"]), refs, bool(call["read_only"]))
        if op == "bind_unbound":
            return process.bind_unbound(int(call["domid"]))
        if op == "bind_interdomain":
            return process.bind_interdomain(int(call["domid"]), int(call["port"]))
        if op == "release":
            process.release(int(call["handle"]))
        elif op == "unmap_notify":
            process.set_notify(int(call["handle"]), call["offset_byte"], call["port"])
        elif op == "close_port":
            process.close_port(int(call["port"]))
        elif self.domid != 0:
            raise refuse(errno.EPERM, "only domain 0 may do that")
        elif op == "report":
            return {"lines": self.hypervisor.report()}, []
        elif op == "create_domain":
            self.hypervisor.create_domain(int(call["domid"]))
        elif op == "destroy_domain":
            self.hypervisor.destroy_domain(int(call["domid"]))
        elif op == "trouble":
            self.hypervisor.troubles.order(call, self.hypervisor.store.value)
        elif op == "end_troubles":
            self.hypervisor.troubles.end()
        elif op == "held":
            return {"pids": sorted(self.hypervisor.troubles.held)}, []
        elif op == "lose_store":
            self.hypervisor.lose_store()
        elif op == "restore_store":
            self.hypervisor.restore_store()
        else:
            raise refuse(errno.ENOSYS, f"there is no hypercall {op}")
        return {}, []

    def close(self) -> None:
        super().close()
        self.process.close()


class StoreSocket(Socket):
    def __init__(self, hypervisor: Hypervisor, sock: socket.socket, domid: int) -> None:
        super().__init__(hypervisor, sock, domid)
        self._unsent = bytearray()
        self._waits_to_write = False
        self._pid = self.peer_pid()
        self._delayed: deque[tuple[float, bytes]] = deque()
        self.connection: StoreConnection = hypervisor.store.connect(domid, self._send)

    def ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if not events & selectors.EVENT_READ:
            return
        try:
            data = self.sock.recv(65536)
            if not data:
                raise BrokenPeerError("it is gone")
            self.connection.refuses = self._trouble().store_error
            self.connection.feed(data)
        except BlockingIOError:
            pass
        except (OSError, BrokenPeerError):
            self.close()

    def _trouble(self) -> Trouble:
        return self.hypervisor.troubles.of(self.domid, self._pid)

    def _send(self, data: bytes) -> None:
        if self.sock.fileno() < 0:
            return
        trouble = self._trouble()
        if trouble.hold_path:
            value = self.hypervisor.store.value(trouble.hold_path)
            if self.hypervisor.troubles.holds_store(self.domid, self._pid, value):
                return
        if trouble.store_delay_sec or self._delayed:
            self._delayed.append((time.monotonic() + trouble.store_delay_sec, data))
            self.hypervisor.slow.add(self)
        else:
            self._send_now(data)

    def send_delayed(self) -> float | None:
        """What is due; in how many seconds the rest is."""
        while self._delayed:
            due_sec, data = self._delayed[0]
            wait_sec = due_sec - time.monotonic()
            if wait_sec > 0 and self._trouble().store_delay_sec:
                return wait_sec
            self._delayed.popleft()
            self._send_now(data)
        return None

    def _send_now(self, data: bytes) -> None:
        if self.sock.fileno() < 0:
            return
        self._unsent += data
        self._flush()
        if len(self._unsent) > MAX_UNSENT_BYTES:
            self.close()

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self.sock.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # its end will be read
        if self._waits_to_write != bool(self._unsent):
            self._waits_to_write = bool(self._unsent)
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
            self.hypervisor.selector.modify(self.sock, events, self)

    def close(self) -> None:
        super().close()
        self.hypervisor.store.disconnect(self.connection)
