"""Machines for XenStore tests: a daemon, simulated or Debian's, and connections as any domain.

Callbacks are collected in the link's thread. A connection's events and answers come in order, so
any answered request of the watching connection proves that all earlier events have been delivered:
no test sleeps.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from interop.xenstored import RealXenstored
from xenpvaudio.xen.api import (
    XenStoreError,
)
from xenpvaudio.xen.real.xenstore import PyxsStore, open_socket
from xenpvaudio.xen.sim.domain import Hypercalls
from xenpvaudio.xen.sim.paths import XENSTORE, socket_path
from xenpvaudio.xen.sim.process import HypervisorProcess, start_hypervisor

INTRODUCE = 8


class Server(Protocol):
    """A machine with a XenStore daemon."""

    xen_minor: int
    """Of Xen 4: whose store this is, or answers like."""

    @property
    def pid(self) -> int: ...
    def socket_path(self, domid: int) -> str: ...
    def add_domain(self, domid: int) -> None: ...
    def remove_domain(self, domid: int) -> None: ...
    def start(self) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


class SimServer:
    xen_minor = 17

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self.start()

    def start(self) -> None:
        self._process: HypervisorProcess = start_hypervisor(self.directory)
        self._hypercalls = Hypercalls(self.directory, 0)

    @property
    def pid(self) -> int:
        return self._process.pid

    def socket_path(self, domid: int) -> str:
        return socket_path(self.directory, domid, XENSTORE)

    def add_domain(self, domid: int) -> None:
        self._hypercalls.call("create_domain", domid=domid)

    def remove_domain(self, domid: int) -> None:
        self._hypercalls.call("destroy_domain", domid=domid)

    def kill(self) -> None:
        self._hypercalls.close()
        self._process.kill()

    def close(self) -> None:
        self._hypercalls.close()
        self._process.stop()


class World:
    """A server, and connections as any domain."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._stores: list[PyxsStore] = []
        self.xen_minor = server.xen_minor
        self.dom0 = self.connect(0)

    def connect(self, domid: int, **options: Any) -> PyxsStore:
        path = self.server.socket_path(domid)
        options.setdefault("call_soon", lambda fn, *args: fn(*args))
        store = open_socket(path, domid=domid, **options)
        self._stores.append(store)
        return store

    def guest(self, domid: int) -> PyxsStore:
        """A new domain with a home as libxl makes it: read-only, but for its own directory."""
        self.server.add_domain(domid)
        home = f"/local/domain/{domid}"
        self.dom0.mkdir(home)
        self.dom0.set_perms(home, ["n0", f"r{domid}"])
        self.dom0.mkdir(f"{home}/data")
        self.dom0.set_perms(f"{home}/data", [f"n{domid}"])
        self.dom0.request(INTRODUCE, f"introduce {domid}", b"%d\0001\0007\0" % domid)
        return self.connect(domid)

    def close(self) -> None:
        for store in self._stores:
            store.close()
        self.server.close()


def make_world(kind: str, directory: Path) -> World:
    return World(SimServer(directory) if kind == "simulated" else RealXenstored())


class Events:
    """What a watch has told, in order."""

    def __init__(self, store: PyxsStore, path: str) -> None:
        self._store = store
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.watch = store.watch(path, self._queue.put)

    def take(self) -> list[str]:
        """All that came since the last look."""
        self._store.domain_path(0)  # the answer comes after all events before it
        found = []
        while not self._queue.empty():
            found.append(self._queue.get())
        return found

    def wait(self) -> str:
        return self._queue.get(timeout=10)


def code(call: Callable[[], object]) -> int:
    """The errno that a call fails with, 0 if it does not."""
    try:
        call()
    except XenStoreError as error:
        return error.code
    return 0
