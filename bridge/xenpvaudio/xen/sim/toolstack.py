"""What xl and libxl do to a host, done to the simulated one: domains and their vsnd devices.

A domain's nodes and permissions are those that libxl 4.17 writes (libxl_create.c
libxl__domain_make; XenStore seen after `xl create`). Runs in domain 0.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping

from xenpvaudio.errors import ConfigError, XenPvAudioError
from xenpvaudio.xen import devices
from xenpvaudio.xen.api import Txn
from xenpvaudio.xen.real.xenstore import open_socket

from .domain import Hypercalls
from .paths import XENSTORE, socket_path

KIND = "vsnd"
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
        """ConfigError if the number or name is taken, or is none; UnavailableError if the
        hypervisor has no descriptor left. Then there is nothing of the domain."""
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

        try:
            self.store.transact(write)
            self.store.request(_INTRODUCE, f"introduce domain {domid}", b"%d\0001\0001\0" % domid)
        except XenPvAudioError:
            with contextlib.suppress(XenPvAudioError):  # the first error says more
                self.destroy_domain(domid, detach=False)
            raise

    def destroy_domain(self, domid: int, *, detach: bool = True) -> None:
        """`detach`: let the backends close first, as `xl destroy` does. ConfigError if there is no
        such domain."""
        if detach:
            for devid in devices.device_numbers(self.store, KIND, domid):
                self.detach_vsnd(domid, devid, force=True)
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
        devices.attach(
            self.store, KIND, domid, nodes, backend_domid=backend_domid, devid=devid, replace=True
        )

    def detach_vsnd(
        self,
        domid: int,
        devid: int,
        *,
        force: bool = False,
        timeout_sec: float = devices.DETACH_SEC,
    ) -> None:
        """As devices.detach()."""
        place = devices.DevicePlace(KIND, domid, devid)
        devices.detach(self.store, place, force=force, timeout_sec=timeout_sec)

    def _names(self) -> dict[int, str]:
        found = {}
        for domid in self.store.list("/local/domain"):
            name = self.store.get(f"/local/domain/{domid}/name")
            if name is not None:
                found[int(domid)] = name
        return found
