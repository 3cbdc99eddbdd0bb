"""XenStore: the cards of this guest, or of the guests of this host, and who serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from xenpvaudio.errors import ConfigError, XenPvAudioError
from xenpvaudio.logs.quoting import quote
from xenpvaudio.sndif.card import Card, parse_card
from xenpvaudio.xen.api import AccessError, Domain, NotFoundError, XenStore, XenStoreError
from xenpvaudio.xenbus.nodes import parse_domid, read_tree
from xenpvaudio.xenbus.states import BACKEND_ID, BACKEND_PATH, STATE

from .finding import Finding, ok, wrong

OWN_CARDS = "device/vsnd"
GUESTS_CARDS = "backend/vsnd"
# enum xenbus_state (io/xenbus.h), as XenStore has it.
INITIALISING, CONNECTED = "1", "4"
STATE_NAMES = {
    "1": "Initialising",
    "2": "InitWait",
    "3": "Initialised",
    "4": "Connected",
    "5": "Closing",
    "6": "Closed",
}
ATTACH = "xl vsnd-attach, or xen-pv-audio attach"
ATTACH_ANEW = f"detach the card and attach it anew: {ATTACH}"
START_FRONTEND = "systemctl --user start xen-pv-audio-frontend"
START_BACKEND = "systemctl --user start xen-pv-audio-backend"


def names(store: XenStore, path: str) -> list[str]:
    try:
        return sorted(store.list(path))
    except NotFoundError:
        return []


def state_name(text: str | None) -> str:
    return "not there" if text is None else STATE_NAMES.get(text, quote(text, 16))


def own_cards(domain: Domain, found: list[Card]) -> Iterator[Finding]:
    """In a guest. Adds those that can be read to `found`."""
    store = domain.store
    devids = names(store, OWN_CARDS)
    if not devids:
        yield wrong(
            "card",
            f"this guest has no vsnd card: XenStore has no {OWN_CARDS}",
            "put vsnd into the guest's xl.cfg (as in packaging/xl/desktop.cfg), or in dom0: "
            f"{ATTACH}",
        )
    for devid in devids:
        directory = f"{OWN_CARDS}/{devid}"
        yield from _readable(store, directory, found)
        with suppress(NotFoundError):
            yield _served(store, directory)


def _readable(store: XenStore, directory: str, found: list[Card]) -> Iterator[Finding]:
    try:
        card = parse_card(
            asyncio.run(read_tree(store, directory, lambda requests: None)), where=directory
        )
    except ConfigError as error:
        yield wrong("card", error.message, error.hint or "correct that node in the guest's xl.cfg")
        return
    found.append(card)
    streams = sum(1 for _ in card.streams)
    yield ok("card", f"{directory}: {card.short_name or 'a card'} with {streams} streams")


def _served(store: XenStore, directory: str) -> Finding:
    try:
        identity = parse_domid(store.read(f"{directory}/{BACKEND_ID}"), f"{directory}/{BACKEND_ID}")
    except ConfigError as error:
        return wrong("backend", error.message, ATTACH_ANEW)
    try:
        theirs = store.get(f"{store.read(f'{directory}/{BACKEND_PATH}')}/{STATE}")
    except AccessError:  # where the node is gone, what is above it is not ours to read
        theirs = None
    ours = store.get(f"{directory}/{STATE}")
    where = f"{directory}: this end is {state_name(ours)}, domain {identity}'s {state_name(theirs)}"
    if theirs is None:
        return wrong("backend", where, ATTACH_ANEW)
    if theirs == INITIALISING:
        return wrong(
            "backend",
            f"{where}: no backend has taken the card",
            f"in domain {identity}: {START_BACKEND}",
        )
    if (ours, theirs) == (CONNECTED, CONNECTED):
        return ok("backend", where)
    return wrong(
        "frontend",
        f"{where}: no frontend has taken the card",
        f"{START_FRONTEND}; what it says: journalctl --user -u xen-pv-audio-frontend",
    )


def guests_cards(domain: Domain, found: list[Card]) -> Iterator[Finding]:
    """On a host."""
    store = domain.store
    some = False
    for domid in names(store, GUESTS_CARDS):
        for devid in names(store, f"{GUESTS_CARDS}/{domid}"):
            some = True
            try:
                yield from _guests_card(domain, f"{GUESTS_CARDS}/{domid}/{devid}", found)
            except XenStoreError as error:
                yield wrong("card", str(error), "start the backend as a member of its group")
    if not some:
        yield ok("card", "no running guest has a vsnd card")


def _guests_card(domain: Domain, directory: str, found: list[Card]) -> Iterator[Finding]:
    store = domain.store
    front = store.read(f"{directory}/frontend")
    ours, theirs = store.get(f"{directory}/{STATE}"), store.get(f"{front}/{STATE}")
    yield from _readable(store, front, found)
    where = f"{directory}: this end is {state_name(ours)}, the guest's {state_name(theirs)}"
    if ours == INITIALISING:
        yield wrong("backend", f"{where}: no backend has taken the card", START_BACKEND)
    elif (ours, theirs) == (CONNECTED, CONNECTED):
        yield ok("backend", where)
    else:
        yield wrong(
            "frontend",
            f"{where}: the guest has no driver for it",
            f"in the guest: {START_FRONTEND}, or: sudo modprobe snd_xen_front",
        )


def error_finding(check: str, error: XenPvAudioError) -> Finding:
    return wrong(check, error.message, error.hint or "see packaging/doc and the manual page")
