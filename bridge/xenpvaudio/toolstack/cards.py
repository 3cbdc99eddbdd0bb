"""The commands attach and detach: a card's nodes in XenStore, as libxl writes and removes them.

For hosts whose toolstack has no vsnd. What they write is libxl's in every node, so that `xl
vsnd-list`, `xl vsnd-detach` and the end of a domain by libxl (xl, libvirt) know the card, too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from xenpvaudio.errors import ConfigError, XenPvAudioError
from xenpvaudio.logs.quoting import printable, quote
from xenpvaudio.sndif.codes import DRIVER_NAME
from xenpvaudio.xen import devices
from xenpvaudio.xen.api import AccessError, Domain, NotFoundError
from xenpvaudio.xen.connect import domain_from_env

from .specification import CardSpec, parse_specification

MAX_FILE_BYTES = 1 << 20
_LOOK_SEC = 0.02


def read_specification(path: Path) -> list[CardSpec]:
    """The cards of a file. ConfigError if it cannot be read, or has none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} has more than {MAX_FILE_BYTES} bytes")
    try:
        return parse_specification(data.decode(), str(path))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None


def _home(domid: int) -> str:
    return f"/local/domain/{domid}"


def _number(word: str) -> int | None:
    """Of a domain; None if it is none."""
    return int(word) if word.isascii() and word.isdecimal() and len(word) <= 5 else None


def find_domain(domain: Domain, word: str) -> int:
    """The number of the domain with that number, name or UUID. ConfigError if there is none."""
    number = _number(word)
    if number is not None:
        if domain.store.exists(_home(number)):
            return number
    else:
        found = map(_number, domain.store.list("/local/domain"))
        for domid in sorted(number for number in found if number is not None):
            if word == domain.known_name(domid) or word.lower() == domain.uuid(domid):
                return domid
    raise ConfigError(f"there is no domain {quote(word)}", hint="as a number, name or UUID")


def _told(domain: Domain, domid: int) -> str:
    name = domain.known_name(domid)
    return f"domain {domid} ({name})" if name else f"domain {domid}"


def _hypervisors_domain(environ: Mapping[str, str]) -> Domain:
    """XenPvAudioError where the nodes of others may not be read, as in a guest."""
    domain = domain_from_env(lambda call, *rest: call(*rest), environ)
    try:
        domain.store.list("/local/domain")
    except (AccessError, NotFoundError):
        domid = domain.domid
        domain.close()
        raise XenPvAudioError(
            f"domain {domid} may not change the devices of domains", hint="run this in domain 0"
        ) from None
    except BaseException:  # an interrupt, too: the connection is closed
        domain.close()
        raise
    return domain


def run_attach(
    word: str,
    file: Path,
    *,
    devid: int | None = None,
    wait_sec: float = devices.ATTACH_SEC,
    environ: Mapping[str, str] = os.environ,
    out: TextIO | None = None,
) -> int:
    """Writes the cards of `file` for the domain `word` and waits until both ends are connected.

    `devid`: the number of its only card. ConfigError for what is wrong with the file or the domain;
    XenPvAudioError if nobody connects in time, and then cards that no backend took are gone again.
    """
    specs = read_specification(file)
    if devid is not None and len(specs) > 1:
        raise ConfigError(f"{file} has {len(specs)} cards, and --card is for one")
    domain = _hypervisors_domain(environ)
    try:
        domid = find_domain(domain, word)
        backends = [_backend(domain, spec, domid) for spec in specs]
        places: list[tuple[devices.DevicePlace, int]] = []
        try:
            for spec, backend in zip(specs, backends, strict=True):
                place = devices.attach(
                    domain.store,
                    DRIVER_NAME,
                    domid,
                    spec.nodes,
                    backend_domid=backend,
                    devid=devid,
                )
                places.append((place, backend))
        except XenPvAudioError:
            for place, backend in places:  # all of the file or nothing
                devices.remove(domain.store, place, place.back(backend))
            raise
        deadline = time.monotonic() + wait_sec
        for place, backend in places:
            if wait_sec:
                _wait_connected(domain, place, backend, deadline)
            does = "is connected" if wait_sec else "is there"
            where = f"{DRIVER_NAME}/{place.devid} of {_told(domain, domid)}"
            print(printable(f"{where} {does}, backend in domain {backend}"), file=out or sys.stdout)
    finally:
        domain.close()
    return 0


def _backend(domain: Domain, spec: CardSpec, domid: int) -> int:
    backend = find_domain(domain, spec.backend) if spec.backend else domain.domid
    if backend == domid:
        raise ConfigError(
            f"domain {domid} cannot have its own backend", hint="say backend=DOMAIN in CARD"
        )
    return backend


def _wait_connected(
    domain: Domain, place: devices.DevicePlace, backend: int, deadline: float
) -> None:
    """Until both ends say so."""
    store, back = domain.store, place.back(backend)
    while True:
        ends = store.get(f"{back}/state"), store.get(f"{place.front}/state")
        if ends == (devices.CONNECTED, devices.CONNECTED):
            return
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK_SEC)  # a watch for each end of each card would save no time
    if ends[0] in (None, devices.INITIALISING, devices.CLOSING, devices.CLOSED):
        devices.remove(store, place, back)
        refused = ends[0] in (devices.CLOSING, devices.CLOSED)
        raise XenPvAudioError(
            f"the backend in domain {backend} {'refused' if refused else 'did not take'} {place}, "
            "which is gone again",
            hint="there: journalctl --user -u xen-pv-audio-backend"
            if refused
            else "start it there first: systemctl --user start xen-pv-audio-backend",
        )
    raise XenPvAudioError(
        f"{place} waits for a frontend, which has not come yet",
        hint="in the guest: systemctl --user start xen-pv-audio-frontend; to remove the card: "
        f"xen-pv-audio detach {place.domid} {place.devid}",
    )


def run_detach(
    word: str,
    devid: int | None = None,
    *,
    force: bool = False,
    timeout_sec: float = devices.DETACH_SEC,
    environ: Mapping[str, str] = os.environ,
    out: TextIO | None = None,
) -> int:
    """Asks the backend to close the card, waits for it and removes the nodes; of a domain that is
    gone, too, if `word` is its number. `devid` None: the only card. ConfigError if there is no such
    card; XenPvAudioError if the backend does not close in time: `force` removes it anyway."""
    domain = _hypervisors_domain(environ)
    try:
        number = _number(word)
        if number is not None and devices.device_numbers(domain.store, DRIVER_NAME, number):
            domid = number  # also of one that is gone
        else:
            domid = find_domain(domain, word)
        cards = devices.device_numbers(domain.store, DRIVER_NAME, domid)
        if devid is None:
            if len(cards) > 1:
                listed = ", ".join(map(str, cards))
                raise ConfigError(f"{_told(domain, domid)} has the cards {listed}: say which one")
            devid = cards[0] if cards else 0
        if devid not in cards:
            raise ConfigError(f"{_told(domain, domid)} has no card {devid}")
        place = devices.DevicePlace(DRIVER_NAME, domid, devid)
        try:
            devices.detach(domain.store, place, force=force, timeout_sec=timeout_sec)
        except devices.NotClosedError as error:
            raise XenPvAudioError(
                error.message, hint="to remove it anyway: xen-pv-audio detach --force"
            ) from None
        print(printable(f"{place} is gone"), file=out or sys.stdout)
    finally:
        domain.close()
    return 0
