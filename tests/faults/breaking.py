"""The ways to break something: what happens, who is gone, and how they come back.

Each is a context: inside it is broken, and when it is left whoever was gone has returned. Those of
the handshake begin with everything connected as well: a half is ended and started again, stops for
ever at the step that is meant, and is killed there.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from xenpvaudio.testbed.testbed import GUEST_DOMID

from .place import BACK, FRONT, LIMIT_SEC, Place, eventually

Broken = Callable[[Place], AbstractContextManager[None]]


def then(first: Callable[[Place], object], second: Callable[[Place], object]) -> Broken:
    """Broken by the first, whole again by the second."""

    @contextmanager
    def broken(place: Place) -> Iterator[None]:
        first(place)
        yield
        second(place)

    return broken


# --- somebody is killed while it plays and records ------------------------------------------------


def killed(*roles: str, how: signal.Signals = signal.SIGKILL) -> Broken:
    def kill(place: Place) -> None:
        for role in roles:
            place.kill(role, how)

    return then(kill, lambda place: [place.start(role) for role in roles])


def daemons_killed(where: str, *programs: str) -> Broken:
    return then(
        lambda place: place.kill_daemons(where, *programs),
        lambda place: place.start_daemons(where, *programs),
    )


# --- somebody stands still ------------------------------------------------------------------------

STILL_SEC = 4.0
"""Longer than what a half gives its peer (3 s)."""


def stopped(*who: str, seconds: float = STILL_SEC) -> Broken:
    """`who`: a half, "guest" or "host" with all that runs there, a daemon as "host pipewire",
    "machine", or "xenstored"."""

    def pids(place: Place, name: str) -> list[int]:
        if name in ("frontend", "backend"):
            return [place.half(name).pid]
        if name in ("guest", "host"):
            return place.pids(name)
        if name == "machine":
            return place.everybody()
        if name == "xenstored":
            return [place.bed.hypervisor.pid]
        where, _, program = name.partition(" ")
        return [place.session(where).pids()[program]]

    @contextmanager
    def broken(place: Place) -> Iterator[None]:
        with place.stopped([pid for name in who for pid in pids(place, name)]):
            time.sleep(seconds)
            yield

    return broken


# --- killed at a step of the handshake ------------------------------------------------------------


def killed_at(role: str, state_of: str, state: str, *, at_end: bool = False) -> Broken:
    """As soon as that end's state is written, the half hears nothing more of XenStore; then it is
    killed. `at_end`: while it ends in order, not while it begins."""

    @contextmanager
    def broken(place: Place) -> Iterator[None]:
        if not at_end:
            place.kill(role)
        hold(place, role, at_end, f"{state_of}/state", state)
        yield
        place.bed.hypervisor.end_troubles()
        place.start(role)

    return broken


def hold(place: Place, role: str, at_end: bool, path: str, value: str) -> None:
    domid = GUEST_DOMID if role == "frontend" else 0
    machine = place.bed.hypervisor
    order = {"hold_path": path, "hold_value": value}
    if at_end:
        machine.trouble(domid, pid=place.half(role).pid, **order)
        place.half(role).send_signal(signal.SIGTERM)
    else:
        if role == "frontend":
            place.bed.start_frontend()
        else:
            place.bed.start_backend()
        machine.trouble(domid, pid=place.half(role).pid, **order)
    eventually(lambda: place.half(role).pid in machine.held(), place.state)
    place.kill(role)


def peer_closes(role: str, state_of: str) -> Broken:
    """Its peer ends in order, and the half is killed when that end's state is Closing."""
    peer = "backend" if role == "frontend" else "frontend"

    @contextmanager
    def broken(place: Place) -> Iterator[None]:
        machine = place.bed.hypervisor
        domid = GUEST_DOMID if role == "frontend" else 0
        order = {"hold_path": f"{state_of}/state", "hold_value": "5"}
        machine.trouble(domid, pid=place.half(role).pid, **order)
        place.half(peer).send_signal(signal.SIGTERM)
        eventually(lambda: place.half(role).pid in machine.held(), place.state)
        place.kill(role)
        place.half(peer).wait()
        yield
        machine.end_troubles()
        place.start(role)
        place.start(peer)

    return broken


MANY_PAGES = 8
"""A buffer's, and nothing else's."""


def killed_in_open(role: str) -> Broken:
    """In the hypercall for the buffer: the guest grants its pages, the backend maps them."""

    @contextmanager
    def broken(place: Place) -> Iterator[None]:
        machine = place.bed.hypervisor
        place.kill("backend")
        if role == "frontend":
            pid = place.frontend.pid
            machine.trouble(GUEST_DOMID, pid=pid, hold_call="grant", hold_pages=MANY_PAGES)
            place.start("backend")
        else:
            place.bed.start_backend()
            pid = place.backend.pid
            machine.trouble(0, pid=pid, hold_call="map", hold_pages=MANY_PAGES)
        eventually(lambda: pid in machine.held(), place.state)
        place.kill(role)
        yield
        machine.end_troubles()
        place.start(role)

    return broken


def killed_in_start(role: str) -> Broken:
    """The backend answers a START when its host takes frames: here it never does."""

    @contextmanager
    def broken(place: Place) -> Iterator[None]:
        place.kill("frontend")
        opened = place.bed.log("frontend").count("(sink): open")
        with place.stopped([place.session("host").pids()["pipewire"]]):
            place.start("frontend")
            eventually(
                lambda: place.bed.log("frontend").count("(sink): open") > opened, place.state
            )
            time.sleep(0.2)
            place.kill(role)
        yield
        place.start(role)

    return broken


# --- XenStore -------------------------------------------------------------------------------------


def store_lost(*, meanwhile: str = "") -> Broken:
    """`meanwhile`: this half is killed, and started again when XenStore is back."""

    def lose(place: Place) -> None:
        place.bed.hypervisor.lose_store()
        if meanwhile:
            place.kill(meanwhile)
        time.sleep(0.5)

    def restore(place: Place) -> None:
        place.bed.hypervisor.restore_store()
        if meanwhile:
            place.start(meanwhile)

    return then(lose, restore)


def store_trouble(role: str, **what: object) -> Broken:
    """XenStore is so for everybody in the half's domain while it is started again: what it writes
    is refused until the end, or each of its answers comes late."""

    @contextmanager
    def broken(place: Place) -> Iterator[None]:
        place.kill(role)
        said = len(place.bed.log(role))
        start = place.bed.start_frontend if role == "frontend" else place.bed.start_backend
        machine = place.bed.hypervisor
        if role == "frontend":
            machine.trouble(GUEST_DOMID, **what)
            start()
        else:
            start()
            machine.trouble(0, pid=place.backend.pid, **what)
        slow = "store_delay_sec" in what
        if slow:
            yield
            if role == "backend":  # until then its state is what the killed one has left
                eventually(lambda: place.store_state(BACK) != "4", place.state)
            machine_states(place)
        else:
            end = time.monotonic() + LIMIT_SEC  # a busy machine starts it late
            while "cannot write" not in place.bed.log(role)[said:] and time.monotonic() < end:
                time.sleep(0.02)
            time.sleep(1.0)
            yield
        machine.end_troubles()

    return broken


def machine_states(place: Place) -> None:
    eventually(
        lambda: place.store_state(FRONT) == place.store_state(BACK) == "4",
        place.state,
    )


# --- nothing is left ------------------------------------------------------------------------------


def refused_at_open(role: str, call: str, code: int) -> Broken:
    """The machine gives no buffer, from before the peer's return until a while after it."""

    @contextmanager
    def broken(place: Place) -> Iterator[None]:
        refused = {"refuse": {call: code}, "refuse_pages": MANY_PAGES}
        place.kill("backend")
        if role == "frontend":
            place.bed.hypervisor.trouble(GUEST_DOMID, pid=place.frontend.pid, **refused)
            place.start("backend")
        else:
            place.bed.start_backend()
            place.bed.hypervisor.trouble(0, pid=place.backend.pid, **refused)
        time.sleep(2)
        yield
        place.bed.hypervisor.end_troubles()

    return broken


def refused_at_connect(role: str, call: str, code: int) -> Broken:
    """As above, while both halves look for each other anew."""
    other = "backend" if role == "frontend" else "frontend"

    @contextmanager
    def broken(place: Place) -> Iterator[None]:
        domid = GUEST_DOMID if role == "frontend" else 0
        place.kill(other)
        place.bed.hypervisor.trouble(domid, pid=place.half(role).pid, refuse={call: code})
        place.start(other)
        time.sleep(1.0)
        yield
        place.bed.hypervisor.end_troubles()

    return broken


@contextmanager
def no_descriptors(place: Place, role: str) -> Iterator[None]:
    pid = place.half(role).pid
    old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, old[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, old)


def descriptors_used_up(role: str) -> Broken:
    """While its peer is killed and returns."""
    other = "backend" if role == "frontend" else "frontend"

    @contextmanager
    def broken(place: Place) -> Iterator[None]:
        place.kill(other)
        with no_descriptors(place, role):
            place.start(other)
            time.sleep(1.5)
            yield

    return broken


# --- the device -----------------------------------------------------------------------------------


def unplugged(place: Place) -> None:
    assert place.bed.toolstack is not None
    place.bed.toolstack.detach_vsnd(GUEST_DOMID, 0)


def plugged(place: Place) -> None:
    assert place.bed.toolstack is not None
    place.bed.toolstack.attach_vsnd(GUEST_DOMID, 0, place.bed.nodes)


def removed(*directories: str) -> Callable[[Place], None]:
    """Nobody was asked to close."""

    def remove(place: Place) -> None:
        assert place.bed.toolstack is not None
        for directory in directories:
            place.bed.toolstack.store.remove(directory)

    return remove
