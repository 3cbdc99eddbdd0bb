"""One connection to a XenStore daemon: pyxs's transports and router, with their faults overridden.

pyxs 0.4.1 gives the transports, the packet numbers and the life of the router thread. Replaced:
waiting (poll: descriptors past 1023 work), receiving (a buffer and a parser: a daemon that stops in
the middle of a message blocks nobody), request ids (they wrap at 2^32), answers (bounded in time,
and failed at once when the daemon dies), events (handed on, never queued here).

Threads: requests come from any thread; the router's own thread reads, and calls `on_event` and
`on_death`.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pyxs import Router
from pyxs._internal import Op
from pyxs.connection import PacketConnection, _UnixSocketTransport, _XenBusTransport
from pyxs.exceptions import PyXSError

from xenpvaudio.xen.api import StoreGoneError

HEADER = struct.Struct("=IIII")
"""struct xsd_sockmsg: type, request id, transaction id, length of what follows."""
PAYLOAD_MAX_BYTES = 4096
RESET_WATCHES, DIRECTORY_PART = 21, 22
"""Operations younger than pyxs (io/xs_wire.h)."""

SEND_TIMEOUT_SEC = 5
CONNECT_ERRORS = (PyXSError, OSError)

__all__ = ["CONNECT_ERRORS", "DIRECTORY_PART", "Link", "Op", "UnixLink", "XenbusLink"]


class _UnixTransport(_UnixSocketTransport):  # type: ignore[misc]
    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A frozen daemon, its queues full, must not hold us for ever: in connect() or in send().
        wait = struct.pack("@ll", SEND_TIMEOUT_SEC, 0)
        with contextlib.suppress(OSError):  # a C library with another struct timeval
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
        try:
            self.sock.connect(path)
        except OSError:
            self.sock.close()
            raise

    def close(self) -> None:
        # pyxs leaves the socket open when shutdown() fails, as it does once the daemon is dead.
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        finally:
            self.sock.close()


class UnixLink(PacketConnection):  # type: ignore[misc]
    """xenstored's socket: this domain is domain 0 (in the simulation: the socket's domain)."""

    def __init__(self, path: str) -> None:
        self.path = path

    def create_transport(self) -> Any:
        return _UnixTransport(self.path)


class XenbusLink(PacketConnection):  # type: ignore[misc]
    """The kernel's device, in a guest the only way. Not a pyxs XenBusConnection, to which pyxs
    refuses watches: kernels since about 4.11 serve them (xenbus_dev_frontend.c)."""

    def __init__(self, path: str = "/dev/xen/xenbus") -> None:
        self.path = path

    def create_transport(self) -> Any:
        return _XenBusTransport(self.path)


def _messages(buffer: bytearray) -> Iterator[tuple[int, int, bytes]]:
    """Takes the complete messages (type, request id, body) off the front of `buffer`."""
    while len(buffer) >= HEADER.size:
        kind, request_id, _tx, length = HEADER.unpack_from(buffer)
        if length > PAYLOAD_MAX_BYTES:
            raise OSError(errno.EPROTO, "XenStore sent a message longer than its protocol allows")
        end = HEADER.size + length
        if len(buffer) < end:
            return
        body = bytes(buffer[HEADER.size : end])
        del buffer[:end]
        yield kind, request_id, body


class _Answer:
    """A place for one answer; `failure` or (kind, body) is set before `ready`."""

    __slots__ = ("body", "failure", "kind", "ready")

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.kind = 0
        self.body = b""
        self.failure: Exception | None = None


class Link(Router):  # type: ignore[misc]
    """start() connects (CONNECT_ERRORS), request() asks, terminate() ends; used once."""

    def __init__(
        self,
        connection: Any,
        on_event: Callable[[bytes, bytes], None],
        on_death: Callable[[Link, Exception], None],
        first_request_id: int = 1,
    ) -> None:
        super().__init__(connection)
        self._on_event = on_event
        self._on_death = on_death
        self._ids = itertools.count(first_request_id)
        self._answers: dict[int, _Answer] = {}
        self.on_answer: Callable[[float], None] | None = None
        """Told how many seconds each answer was waited for, those included that never came."""
        self.failure: Exception | None = None
        """Why the link is dead; None while it lives."""
        self._ending = False

    def request(self, op: int, body: bytes, tx_id: int, timeout_sec: float) -> tuple[int, bytes]:
        """The answer's type and body, ERROR included. StoreGoneError if the link is or goes
        dead, or after `timeout_sec`; then the request may or may not have been carried out."""
        answer = _Answer()
        with self.send_lock:
            self._raise_if_dead()
            request_id = self._next_id()
            self._answers[request_id] = answer
            try:
                # One write: the kernel's device takes a message in pieces, but a frozen or dying
                # daemon then sees all or nothing.
                packet = HEADER.pack(op, request_id, tx_id, len(body)) + body
                self.connection.transport.send(packet)
            except OSError as error:
                # Part of the message may be on its way, so the stream is of no use any more.
                del self._answers[request_id]
                self._die(error)
                self._raise_if_dead()
        began_sec = time.monotonic()
        answered = answer.ready.wait(timeout_sec)
        if self.on_answer is not None:
            self.on_answer(time.monotonic() - began_sec)
        if not answered:
            with self.send_lock:
                self._answers.pop(request_id, None)
            raise StoreGoneError(f"XenStore gave no answer within {timeout_sec:g} s")
        if answer.failure is not None:
            raise StoreGoneError(f"XenStore's connection broke: {answer.failure}")
        return answer.kind, answer.body

    def abort(self, failure: Exception) -> None:
        """Declares the link dead, as if the daemon had closed it."""
        with self.send_lock:
            self._die(failure)

    def terminate(self) -> None:
        """From any thread, the router's own included; idempotent."""
        self._ending = True
        with self.send_lock:
            self._wake()
        if self.thread.is_alive() and self.thread is not threading.current_thread():
            self.thread.join(1.0)

    def __call__(self) -> None:
        failure: Exception
        try:
            self._serve()
            failure = self.failure or OSError(errno.ESHUTDOWN, os.strerror(errno.ESHUTDOWN))
        except Exception as error:
            failure = self.failure or error
        with self.send_lock:
            self.failure = failure
            answers = list(self._answers.values())
            self._answers.clear()
            self.connection.close()
            self.r_terminator.close()
            self.w_terminator.close()
        for answer in answers:
            answer.failure = failure
            answer.ready.set()
        if not self._ending:
            self._on_death(self, failure)

    def _serve(self) -> None:
        daemon_fd, wake_fd = self.connection.fileno(), self.r_terminator.fileno()
        poll = select.poll()
        poll.register(daemon_fd, select.POLLIN)
        poll.register(wake_fd, select.POLLIN)
        buffer = bytearray()
        while True:
            ready = [fd for fd, _events in poll.poll()]
            if wake_fd in ready:
                return
            data = os.read(daemon_fd, 65536)
            if not data:
                raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            buffer += data
            for kind, request_id, body in _messages(buffer):
                self._dispatch(kind, request_id, body)

    def _dispatch(self, kind: int, request_id: int, body: bytes) -> None:
        if kind == Op.WATCH_EVENT:
            path, _, rest = body.partition(b"\0")
            self._on_event(path, rest.partition(b"\0")[0])
            return
        with self.send_lock:
            answer = self._answers.pop(request_id, None)
        if answer is not None:  # else: nobody waits any more
            answer.kind, answer.body = kind, body
            answer.ready.set()

    def _next_id(self) -> int:
        while (request_id := next(self._ids) & 0xFFFFFFFF) in self._answers:
            pass
        return request_id

    def _raise_if_dead(self) -> None:
        if self.failure is not None:
            raise StoreGoneError(f"XenStore's connection broke: {self.failure}")

    def _die(self, failure: Exception) -> None:
        self.failure = self.failure or failure
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the thread has ended
            self.w_terminator.send(b"\0")
