"""A para-virtual device's directories, as a toolstack makes and removes them.

What libxl writes and who may read it: libxl_device.c libxl__device_generic_add() and
libxl__initiate_device_generic_remove(), libxl_xshelp.c libxl__xs_path_cleanup(). All of it is for
domain 0, which alone may write there (AccessError for others). Control plane's thread only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from xenpvaudio.errors import ConfigError, XenPvAudioError

from .api import Nodes, NotFoundError, Txn, XenStore

INITIALISING, INIT_WAIT, CONNECTED, CLOSING, CLOSED = "1", "2", "4", "5", "6"
"""enum xenbus_state (io/xenbus.h), as XenStore has it."""
ATTACH_SEC = 40.0
"""How long libxl waits for a backend to take a device."""
DETACH_SEC = 10.0
"""And to let go of it."""
_LOOK_SEC = 0.005


class NotClosedError(XenPvAudioError):
    """A backend that was asked to close did not, in time."""


@dataclass(frozen=True, slots=True)
class DevicePlace:
    """Where the device `devid` of domain `domid` is; `kind` is like "vsnd"."""

    kind: str
    domid: int
    devid: int

    @property
    def front(self) -> str:
        return f"/local/domain/{self.domid}/device/{self.kind}/{self.devid}"

    def back(self, backend_domid: int) -> str:
        return f"/local/domain/{backend_domid}/backend/{self.kind}/{self.domid}/{self.devid}"

    @property
    def note(self) -> str:
        """libxl's own word of both ends: what the guest writes is not to be believed. By it `xl`
        lists and detaches the device, and whoever destroys the domain with libxl removes it."""
        return f"{notes(self.kind, self.domid)}/{self.devid}"

    def __str__(self) -> str:
        return f"{self.kind}/{self.devid} of domain {self.domid}"


def notes(kind: str, domid: int) -> str:
    return f"/libxl/{domid}/device/{kind}"


def device_numbers(store: XenStore, kind: str, domid: int) -> list[int]:
    """The devices of that kind that a toolstack gave the domain, in order."""
    return _numbers(store, notes(kind, domid))


def _numbers(nodes: Nodes, path: str) -> list[int]:
    try:
        return sorted(int(name) for name in nodes.list(path) if name.isdecimal())
    except NotFoundError:
        return []


def attach(
    store: XenStore,
    kind: str,
    domid: int,
    values: Mapping[str, str],
    *,
    backend_domid: int = 0,
    devid: int | None = None,
    replace: bool = False,
) -> DevicePlace:
    """Writes both directories at once, in state Initialising. `values`: path below the frontend's
    directory -> value. `devid` None: the next free number. ConfigError if that one is taken; with
    `replace` what is there is written anew."""

    def write(tx: Txn) -> DevicePlace:
        taken = {
            *_numbers(tx, notes(kind, domid)),
            *_numbers(tx, f"/local/domain/{domid}/device/{kind}"),
        }
        if devid is not None and devid in taken and not replace:
            raise ConfigError(
                f"domain {domid} has a {kind} device {devid} already", hint="detach it first"
            )
        free = next(number for number in range(len(taken) + 1) if number not in taken)
        place = DevicePlace(kind, domid, free if devid is None else devid)
        back = place.back(backend_domid)
        back_values = {
            "frontend-id": str(domid),
            "online": "1",
            "state": INITIALISING,
        }
        front_values = {"backend-id": str(backend_domid), "state": INITIALISING, **values}
        _directory(tx, place.front, {"backend": back, **front_values}, domid, backend_domid)
        _directory(tx, back, {"frontend": place.front, **back_values}, backend_domid, domid)
        # It keeps a copy of what the backend is told.
        ends = {"frontend": place.front, "backend": back}
        _directory(tx, place.note, {**ends, **back_values}, 0)
        return place

    return store.transact(write)


def _directory(tx: Txn, path: str, values: Mapping[str, str], owner: int, *readers: int) -> None:
    if tx.exists(path):
        tx.remove(path)
    tx.mkdir(path)
    tx.set_perms(path, [f"n{owner}", *(f"r{reader}" for reader in readers)])
    for name, value in values.items():
        tx.write(f"{path}/{name}", value)


def backend_path(store: XenStore, place: DevicePlace) -> str:
    """By libxl's note. ConfigError if there is no such device."""
    back = store.get(f"{place.note}/backend")
    if back is None:
        raise ConfigError(f"domain {place.domid} has no {place.kind} device {place.devid}")
    return back


def detach(
    store: XenStore,
    place: DevicePlace,
    *,
    force: bool = False,
    timeout_sec: float = DETACH_SEC,
) -> None:
    """Asks the backend to close, waits for it, removes what attach() wrote. ConfigError if there is
    no such device; NotClosedError if the backend does not close in time, and nothing is removed:
    with `force` it is removed anyway."""
    back = backend_path(store, place)
    state = f"{back}/state"

    def ask(tx: Txn) -> None:
        if not tx.exists(state):
            return  # the backend's domain has taken it away already
        tx.write(f"{back}/online", "0")
        if tx.read(state) != CLOSED:
            tx.write(state, CLOSING)

    store.transact(ask)
    deadline = time.monotonic() + timeout_sec
    while store.get(state, CLOSED) != CLOSED:
        if time.monotonic() > deadline:
            if force:
                break
            raise NotClosedError(f"the backend of {place} did not close in time")
        time.sleep(_LOOK_SEC)  # short, bounded, and in a command that does nothing else
    remove(store, place, back)


def remove(store: XenStore, place: DevicePlace, back: str) -> None:
    """Both directories and the note, at once, and what is empty above them."""

    def write(tx: Txn) -> None:
        for path in (place.front, back, place.note):
            _remove_with_empty_parents(tx, path)

    store.transact(write)


def _remove_with_empty_parents(tx: Txn, path: str) -> None:
    """As libxl, but a domain's home stays."""
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
