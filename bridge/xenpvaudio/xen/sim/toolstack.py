"""What xl and libxl do to a host, done to the simulated one: domains and their vsnd devices.

The nodes and permissions are those that libxl 4.17 writes (libxl_create.c libxl__domain_make,
libxl_device.c libxl__device_generic_add; XenStore seen after `xl create`). Runs in domain 0.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping

from xenpvaudio.errors import ConfigError, XenPvAudioError
from xenpvaudio.xen.api import Txn
from xenpvaudio.xen.real.xenstore import open_socket

from .domain import Hypercalls
from .paths import XENSTORE, socket_path

INITIALISING, CLOSING, CLOSED = "1", "5", "6"
"""enum xenbus_state (io/xenbus.h)."""
DETACH_SEC = 10.0
"""How long libxl waits for a backend to close."""
_INTRODUCE = 8
_OWN_DIRECTORIES = ("control/shutdown", "data", "drivers", "feature", "attr", "error")


class Toolstack:
    """Domain 0's hand on domains. Close it, or use it in a `with`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._hypercalls = Hypercalls(directory, 0)
        self.store = open_socket(socket_path(directory, 0, XENSTORE))
        if not self.store.exists("domid"):  # as xen-init-dom0 does
            self.store.write("domid", "0")
            self.store.write("name", "Domain-0")

    def __enter__(self) -> Toolstack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.store.close()
        self._hypercalls.close()

    def create_domain(self, domid: int, name: str) -> None:
        """ConfigError if the number or name is taken, or is none."""
        if name in self._names().values():
            raise ConfigError(f"there is a domain {name} already")
        try:
            self._hypercalls.call("create_domain", domid=domid)
        except OSError as error:
            raise ConfigError(f"cannot create domain {domid}: {error.strerror}") from error
        home = self.store.domain_path(domid)
        read_only, own = ["n0", f"r{domid}"], [f"n{domid}"]
        directories = dict.fromkeys([home, f"{home}/device", f"{home}/control"], read_only)
        directories |= {f"{home}/{name}": own for name in _OWN_DIRECTORIES}

        def write(tx: Txn) -> None:
            for directory, perms in directories.items():
                tx.mkdir(directory)
                tx.set_perms(directory, perms)
            tx.write(f"{home}/name", name)
            tx.write(f"{home}/domid", str(domid))
            tx.write(f"{home}/vm", f"/vm/{uuid.uuid5(uuid.NAMESPACE_OID, name)}")

        self.store.transact(write)
        self.store.request(_INTRODUCE, f"introduce domain {domid}", b"%d\0001\0001\0" % domid)

    def destroy_domain(self, domid: int, *, detach: bool = True) -> None:
        """`detach`: let the backends close first, as `xl destroy` does. ConfigError if there is no
        such domain."""
        devices = f"/libxl/{domid}/device/vsnd"
        if detach and self.store.exists(devices):
            for devid in self.store.list(devices):
                self.detach_vsnd(domid, int(devid), force=True)
        try:
            self._hypercalls.call("destroy_domain", domid=domid)
        except OSError as error:
            raise ConfigError(f"cannot destroy domain {domid}: {error.strerror}") from error
        for path in (self.store.domain_path(domid), f"/libxl/{domid}"):
            if self.store.exists(path):
                self.store.remove(path)

    def attach_vsnd(
        self, domid: int, devid: int, nodes: Mapping[str, str], backend_domid: int = 0
    ) -> None:
        """`nodes`: path below the frontend's directory ("0/0/unique-id") -> value."""
        front = f"/local/domain/{domid}/device/vsnd/{devid}"
        back = f"/local/domain/{backend_domid}/backend/vsnd/{domid}/{devid}"
        front_values = {
            "backend": back,
            "backend-id": str(backend_domid),
            "state": INITIALISING,
            **nodes,
        }
        back_values = {
            "frontend": front,
            "frontend-id": str(domid),
            "online": "1",
            "state": INITIALISING,
        }

        def write(tx: Txn) -> None:
            # Its own note of both ends: what the guest writes is not to be believed.
            tx.write(f"{_libxl_path(domid, devid)}/frontend", front)
            tx.write(f"{_libxl_path(domid, devid)}/backend", back)
            for directory, values, owner, reader in (
                (front, front_values, domid, backend_domid),
                (back, back_values, backend_domid, domid),
            ):
                if tx.exists(directory):
                    tx.remove(directory)
                tx.mkdir(directory)
                tx.set_perms(directory, [f"n{owner}", f"r{reader}"])
                for path, value in values.items():
                    tx.write(f"{directory}/{path}", value)

        self.store.transact(write)

    def detach_vsnd(
        self,
        domid: int,
        devid: int,
        *,
        force: bool = False,
        timeout_sec: float = DETACH_SEC,
    ) -> None:
        """Asks the backend to close, waits for it, removes both directories. XenPvAudioError if it
        does not close in time; with `force` the directories go anyway."""
        note = _libxl_path(domid, devid)
        back = self.store.get(f"{note}/backend")
        if back is None:
            raise ConfigError(f"domain {domid} has no vsnd device {devid}")
        front = self.store.read(f"{note}/frontend")
        state = f"{back}/state"
        self.store.write(f"{back}/online", "0")
        if self.store.read(state) != CLOSED:
            self.store.write(state, CLOSING)
        deadline = time.monotonic() + timeout_sec
        while self.store.get(state, CLOSED) != CLOSED:
            if time.monotonic() > deadline:
                if force:
                    break
                raise XenPvAudioError(f"the backend of {front} did not close in time")
            time.sleep(0.005)

        def remove(tx: Txn) -> None:
            for path in (front, back, note):
                _remove_with_empty_parents(tx, path)

        self.store.transact(remove)

    def _names(self) -> dict[int, str]:
        found = {}
        for domid in self.store.list("/local/domain"):
            name = self.store.get(f"/local/domain/{domid}/name")
            if name is not None:
                found[int(domid)] = name
        return found


def _libxl_path(domid: int, devid: int) -> str:
    return f"/libxl/{domid}/device/vsnd/{devid}"


def _remove_with_empty_parents(tx: Txn, path: str) -> None:
    """libxl_xshelp.c libxl__xs_path_cleanup, but a domain's home stays."""
    if tx.exists(path):
        tx.remove(path)
    above = path.rpartition("/")[0]
    while (
        not re.fullmatch("(/local/domain)?(/[0-9]+)?", above)
        and tx.exists(above)
        and not tx.list(above)
    ):
        tx.remove(above)
        above = above.rpartition("/")[0]
