"""The simulated hypervisor itself: one process, one thread, in a directory (see paths.py).

It waits on sockets: hypercalls and XenStore requests of every domain. Domains are other processes
and may be killed at any instant: the end of a connection is how their death shows. What crosses
between them (pages, events) does so directly; the hypervisor only introduces them.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import sys
from collections.abc import Callable

from xenpvaudio.errors import ConfigError, UnavailableError, XenPvAudioError

from .paths import (
    HYPERCALLS,
    MESSAGE_REFS,
    XENSTORE,
    NoRoomError,
    domain_directory,
    receive_message,
    send_message,
    socket_path,
)
from .tables import DomainTables, Json, Process, refuse
from .xenstored import BrokenPeerError, SimXenstored, StoreConnection

MAX_UNSENT_BYTES = 4 << 20
"""A XenStore client that reads nothing is dropped at this."""

Reply = tuple[Json, list[int]]


class _Socket:
    """Something in the selector; `domid` is whose it is."""

    def __init__(self, hypervisor: Hypervisor, sock: socket.socket, domid: int) -> None:
        self.hypervisor, self.sock, self.domid = hypervisor, sock, domid
        sock.setblocking(False)
        hypervisor.selector.register(sock, selectors.EVENT_READ, self)

    def ready(self, events: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            self.hypervisor.selector.unregister(self.sock)
            self.sock.close()


class _Listener(_Socket):
    def __init__(self, hypervisor: Hypervisor, domid: int, name: str, kind: int) -> None:
        sock = socket.socket(socket.AF_UNIX, kind)
        try:
            sock.bind(socket_path(hypervisor.directory, domid, name))
            sock.listen(64)
        except OSError:
            sock.close()
            raise
        self._accepted = _HypercallSocket if name == HYPERCALLS else _StoreSocket
        super().__init__(hypervisor, sock, domid)

    def ready(self, events: int) -> None:
        try:
            sock, _address = self.sock.accept()
        except OSError:
            return  # gone again, or no descriptor left
        self._accepted(self.hypervisor, sock, self.domid)


class _HypercallSocket(_Socket):
    def __init__(self, hypervisor: Hypervisor, sock: socket.socket, domid: int) -> None:
        super().__init__(hypervisor, sock, domid)
        self.process = Process(hypervisor.tables, domid)

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
        answer, fds = self._answer(data)
        try:
            send_message(self.sock, json.dumps(answer).encode(), fds)
        except OSError:
            self.close()  # dead, or asks without reading

    def _answer(self, data: bytes) -> Reply:
        try:
            call = json.loads(data)
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
        else:
            raise refuse(errno.ENOSYS, f"there is no hypercall {op}")
        return {}, []

    def close(self) -> None:
        super().close()
        self.process.close()


class _StoreSocket(_Socket):
    def __init__(self, hypervisor: Hypervisor, sock: socket.socket, domid: int) -> None:
        super().__init__(hypervisor, sock, domid)
        self._unsent = bytearray()
        self._waits_to_write = False
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
            self.connection.feed(data)
        except BlockingIOError:
            pass
        except (OSError, BrokenPeerError):
            self.close()

    def _send(self, data: bytes) -> None:
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


class Hypervisor:
    """All of it in one object; run() serves until stop(). ConfigError if `directory` cannot hold
    it, UnavailableError if another hypervisor is in there."""

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)
        socket_path(self.directory, 65535, XENSTORE)
        try:
            os.makedirs(self.directory, exist_ok=True)
            self._lock = os.open(
                os.path.join(self.directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise ConfigError(f"cannot use {directory}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise UnavailableError(
                f"a simulated hypervisor runs in {directory} already",
                hint="stop it, or choose another directory",
            ) from error
        self.selector = selectors.DefaultSelector()
        self.tables: dict[int, DomainTables] = {}
        self.store = SimXenstored(lambda domid: domid in self.tables)
        self._running = True
        self.create_domain(0)

    def create_domain(self, domid: int) -> None:
        """OSError: EEXIST, or EINVAL for a number that is no domain's."""
        if domid in self.tables:
            raise refuse(errno.EEXIST, f"domain {domid} exists")
        if not 0 <= domid < 0x7FF0:  # DOMID_FIRST_RESERVED
            raise refuse(errno.EINVAL, f"{domid} is no domain's number")
        path = domain_directory(self.directory, domid)
        shutil.rmtree(path, ignore_errors=True)  # of a hypervisor that was killed
        os.mkdir(path, 0o700)
        self.tables[domid] = DomainTables()
        _Listener(self, domid, HYPERCALLS, socket.SOCK_SEQPACKET)
        _Listener(self, domid, XENSTORE, socket.SOCK_STREAM)

    def destroy_domain(self, domid: int) -> None:
        """As if its power had been cut; XenStore hears of it. OSError: ESRCH."""
        if domid == 0 or domid not in self.tables:
            raise refuse(errno.ESRCH, f"there is no domain {domid} to destroy")
        for thing in self._sockets(lambda thing: thing.domid == domid):
            thing.close()
        del self.tables[domid]
        shutil.rmtree(domain_directory(self.directory, domid), ignore_errors=True)
        self.store.release(domid)

    def report(self) -> list[str]:
        """One line for each grant, mapping and port that is held."""
        found = self._sockets(lambda _thing: True)
        callers = [thing for thing in found if isinstance(thing, _HypercallSocket)]
        return [line for caller in callers for line in caller.process.report()]

    def assert_clean(self) -> None:
        """AssertionError that lists what is still held."""
        lines = self.report()
        if lines:
            raise AssertionError("not given back: " + "; ".join(lines))

    def run(self) -> None:
        while self._running:
            for key, events in self.selector.select():
                thing: _Socket | None = key.data
                if thing is None:  # stop() wrote to it, or the parent has ended
                    self._running = False
                elif thing.sock.fileno() >= 0:  # else: closed by what came before it
                    thing.ready(events)

    def stop(self) -> None:
        self._running = False

    def wake_on(self, fd: int) -> None:
        """stop() as soon as `fd` is readable or at its end."""
        self.selector.register(fd, selectors.EVENT_READ, None)

    def close(self) -> None:
        for thing in self._sockets(lambda _thing: True):
            thing.close()
        for domid in self.tables:
            shutil.rmtree(domain_directory(self.directory, domid), ignore_errors=True)
        self.selector.close()
        os.close(self._lock)

    def _sockets(self, wanted: Callable[[_Socket], bool]) -> list[_Socket]:
        found = [key.data for key in self.selector.get_map().values() if key.data]
        return [thing for thing in found if wanted(thing)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m xenpvaudio.xen.sim", description="A simulated Xen hypervisor in DIR."
    )
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end with the process that holds stdin"
    )
    options = parser.parse_args(argv)
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer)  # a signal between two looks is not lost
    try:
        hypervisor = Hypervisor(options.directory)
    except XenPvAudioError as error:
        print(f"xenpvaudio.xen.sim: {error}", file=sys.stderr)
        return error.exit_status
    # Every channel of every domain costs descriptors here.
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    hypervisor.wake_on(reader)
    if options.until_stdin_closes:
        hypervisor.wake_on(0)
    print("READY", flush=True)
    try:
        hypervisor.run()
    finally:
        hypervisor.close()
    return 0
