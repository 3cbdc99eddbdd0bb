"""The simulated hypervisor itself: one process, one thread, in a directory (see paths.py).

It waits on sockets: hypercalls and XenStore requests of every domain. Domains are other processes
and may be killed at any instant: the end of a connection is how their death shows. What crosses
between them (pages, events) does so directly; the hypervisor only introduces them.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import os
import resource
import selectors
import shutil
import signal
import socket
import sys
from collections.abc import Callable

from xenpvaudio.errors import ConfigError, UnavailableError, XenPvAudioError

from .paths import HYPERCALLS, XENSTORE, domain_directory, socket_path
from .sockets import HypercallSocket, Listener, Socket, StoreSocket
from .tables import DomainTables, refuse
from .trouble import Troubles
from .xenstored import SimXenstored


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
        self.troubles = Troubles()
        self.slow: set[StoreSocket] = set()
        self._running = True
        self.create_domain(0)

    def create_domain(self, domid: int) -> None:
        """OSError: EEXIST, or EINVAL for a number that is no domain's; or EMFILE and the like, and
        then nothing is left of it."""
        if domid in self.tables:
            raise refuse(errno.EEXIST, f"domain {domid} exists")
        if not 0 <= domid < 0x7FF0:  # DOMID_FIRST_RESERVED
            raise refuse(errno.EINVAL, f"{domid} is no domain's number")
        path = domain_directory(self.directory, domid)
        shutil.rmtree(path, ignore_errors=True)  # of a hypervisor that was killed
        os.mkdir(path, 0o700)
        self.tables[domid] = DomainTables()
        try:
            Listener(self, domid, HYPERCALLS, socket.SOCK_SEQPACKET)
            Listener(self, domid, XENSTORE, socket.SOCK_STREAM)
        except OSError:
            self._forget(domid)
            raise

    def destroy_domain(self, domid: int) -> None:
        """As if its power had been cut; XenStore hears of it. OSError: ESRCH."""
        if domid == 0 or domid not in self.tables:
            raise refuse(errno.ESRCH, f"there is no domain {domid} to destroy")
        self._forget(domid)
        self.store.release(domid)

    def _forget(self, domid: int) -> None:
        for thing in self._sockets(lambda thing: thing.domid == domid):
            thing.close()
        del self.tables[domid]
        # No rmtree(): it needs a descriptor, and there may be none.
        with contextlib.suppress(FileNotFoundError):
            for name in (HYPERCALLS, XENSTORE):
                if os.path.lexists(path := socket_path(self.directory, domid, name)):
                    os.unlink(path)
            os.rmdir(domain_directory(self.directory, domid))

    def report(self) -> list[str]:
        """One line for each grant, mapping and port that is held."""
        found = self._sockets(lambda _thing: True)
        callers = [thing for thing in found if isinstance(thing, HypercallSocket)]
        return [line for caller in callers for line in caller.process.report()]

    def assert_clean(self) -> None:
        """AssertionError that lists what is still held."""
        lines = self.report()
        if lines:
            raise AssertionError("not given back: " + "; ".join(lines))

    def lose_store(self) -> None:
        """XenStore is gone, for everybody; its tree stays."""
        for thing in self._sockets(lambda thing: isinstance(thing, StoreSocket)):
            thing.close()
        for thing in self._sockets(lambda thing: isinstance(thing, Listener)):
            if isinstance(thing, Listener) and thing.name == XENSTORE:
                thing.close()
                os.unlink(socket_path(self.directory, thing.domid, XENSTORE))

    def restore_store(self) -> None:
        for domid in self.tables:
            if not os.path.exists(socket_path(self.directory, domid, XENSTORE)):
                Listener(self, domid, XENSTORE, socket.SOCK_STREAM)

    def _send_delayed(self) -> float | None:
        """How long to wait for the next answer that is late on order."""
        waits = {thing: thing.send_delayed() for thing in self.slow}
        self.slow = {thing for thing, wait_sec in waits.items() if wait_sec is not None}
        return min((waits[thing] or 0.0 for thing in self.slow), default=None)

    def run(self) -> None:
        while self._running:
            for key, events in self.selector.select(self._send_delayed()):
                thing: Socket | None = key.data
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

    def _sockets(self, wanted: Callable[[Socket], bool]) -> list[Socket]:
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
