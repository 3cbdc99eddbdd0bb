"""The fault matrix: what breaks, who comes back, and what must be said of it.

The host's WirePlumber killed alone is in it from WirePlumber 0.5 on: 0.4 links no device again that
it finds with its ports made, and the test bed's loudspeaker, PipeWire's module-pipe-tunnel, is one.
"""

from __future__ import annotations

import errno
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass

from .breaking import (
    Broken,
    daemons_killed,
    descriptors_used_up,
    killed,
    killed_at,
    killed_in_open,
    killed_in_start,
    peer_closes,
    plugged,
    refused_at_connect,
    refused_at_open,
    removed,
    stopped,
    store_lost,
    store_trouble,
    then,
    unplugged,
)
from .place import BACK, DAEMONS, FRONT


def _links_anew() -> bool:
    """Whether this machine's session manager links devices that it finds with their ports made."""
    if shutil.which("wireplumber") is None:
        return True
    told = subprocess.run(["wireplumber", "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"Linked with libwireplumber (\d+)\.(\d+)", told.stdout)
    assert version is not None, told.stdout
    return (int(version[1]), int(version[2])) >= (0, 5)


@dataclass(frozen=True)
class Fault:
    """log, words: which half says what happened, and a part of the line; unsaid: else, why nobody
    does.

    node: the sink is the same object afterwards, and the applications never notice more than
    silence. Without it they are started again. goes_on: sound does not stop while it is broken,
    and, for the same node, not afterwards either.
    """

    broken: Broken
    log: str = ""
    words: str = ""
    unsaid: str = ""
    node: bool = True
    goes_on: bool = False


LEFT = "left in state {} by a program that was killed"


def _frontend_left(broken: Broken, state: str) -> Fault:
    """The next frontend finds the device as the killed one had it."""
    return Fault(broken, "frontend", LEFT.format(state), node=False)


def _backend_left(broken: Broken, state: str, node: bool = True) -> Fault:
    return Fault(broken, "backend", LEFT.format(state), node=node)


NO_MANAGER = "what is linked plays on, and PipeWire tells no client how its session manager does"

FAULTS: dict[str, Fault] = {
    # killed while it plays and records
    "backend killed": Fault(killed("backend"), "frontend", "has started anew"),
    "backend ended in order": Fault(
        killed("backend", how=signal.SIGTERM), "frontend", "has closed"
    ),
    "frontend killed": Fault(killed("frontend"), "backend", "frontend has died", node=False),
    "both halves killed": _frontend_left(killed("frontend", "backend"), "connected"),
    "guest's PipeWire killed": Fault(
        daemons_killed("guest", *DAEMONS), "frontend", "PipeWire is gone", node=False
    ),
    "host's PipeWire killed": Fault(
        daemons_killed("host", *DAEMONS), "backend", "PipeWire is gone"
    ),
    "guest's WirePlumber killed": (
        Fault(daemons_killed("guest", "wireplumber"), unsaid=NO_MANAGER)  # its links go with it
        if _links_anew()
        else Fault(
            daemons_killed("guest", "wireplumber"),
            "frontend",
            "they are made anew for it",
            node=False,
            goes_on=True,
        )
    ),
    **(
        {
            "host's WirePlumber killed": Fault(
                daemons_killed("host", "wireplumber"), unsaid=NO_MANAGER
            )
        }
        if _links_anew()
        else {}
    ),
    # killed at a step of the handshake
    "frontend killed at Initialising": _frontend_left(
        killed_at("frontend", FRONT, "1"), "connected"
    ),
    "frontend killed at Initialised": _frontend_left(
        killed_at("frontend", FRONT, "3"), "initialised"
    ),
    "frontend killed at Connected": _frontend_left(killed_at("frontend", FRONT, "4"), "connected"),
    "frontend killed at Closing": _frontend_left(
        killed_at("frontend", FRONT, "5", at_end=True), "closing"
    ),
    "frontend killed at Closed": Fault(
        killed_at("frontend", FRONT, "6", at_end=True),
        "backend",
        "closes the connection",
        node=False,
    ),
    "frontend killed at the backend's Connected": _frontend_left(
        killed_at("frontend", BACK, "4"), "initialised"
    ),
    "backend killed at InitWait": _backend_left(killed_at("backend", BACK, "2"), "initwait"),
    "backend killed at Connected": _backend_left(killed_at("backend", BACK, "4"), "connected"),
    "backend killed at Closed": Fault(
        killed_at("backend", BACK, "6", at_end=True), "frontend", "has closed the connection"
    ),
    "backend killed at the frontend's Initialised": _backend_left(
        killed_at("backend", FRONT, "3"), "initwait"
    ),
    "backend killed at Closing": _backend_left(peer_closes("backend", BACK), "closing", node=False),
    "backend killed at the frontend's Closing": _backend_left(
        peer_closes("backend", FRONT), "connected", node=False
    ),
    "frontend killed in OPEN": _frontend_left(killed_in_open("frontend"), "connected"),
    "backend killed in OPEN": _backend_left(killed_in_open("backend"), "connected"),
    "frontend killed in START": _frontend_left(killed_in_start("frontend"), "connected"),
    "backend killed in START": _backend_left(killed_in_start("backend"), "connected", node=False),
    # stands still
    "frontend stopped": Fault(stopped("frontend"), "frontend", "stood still"),
    "backend stopped": Fault(stopped("backend"), "frontend", "lost the backend"),
    "guest's PipeWire stopped": Fault(
        stopped("guest pipewire", seconds=10), "frontend", "PipeWire does not answer"
    ),
    "host's PipeWire stopped": Fault(
        stopped("host pipewire", seconds=10), "backend", "PipeWire does not answer"
    ),
    "guest's WirePlumber stopped": Fault(
        stopped("guest wireplumber"), unsaid=NO_MANAGER, goes_on=True
    ),
    "host's WirePlumber stopped": Fault(
        stopped("host wireplumber"), unsaid=NO_MANAGER, goes_on=True
    ),
    "guest paused": Fault(stopped("guest"), "frontend", "stood still"),
    "host paused": Fault(stopped("host"), "frontend", "lost the backend"),
    "machine suspended, and the clock went on": Fault(
        stopped("machine"), "frontend", "stood still"
    ),
    "backend stopped for 10 s": Fault(
        stopped("backend", seconds=10), "frontend", "lost the backend"
    ),
    "frontend stopped for 10 s": Fault(stopped("frontend", seconds=10), "frontend", "stood still"),
    "guest paused for 10 s": Fault(stopped("guest", seconds=10), "frontend", "stood still"),
    "host paused for 10 s": Fault(stopped("host", seconds=10), "frontend", "lost the backend"),
    "machine suspended for 30 s": Fault(stopped("machine", seconds=30), "frontend", "stood still"),
    # XenStore
    "XenStore lost": Fault(store_lost(), "frontend", "waiting for it to come back", goes_on=True),
    "XenStore lost, backend killed": Fault(
        store_lost(meanwhile="backend"), "frontend", "waiting for it to come back"
    ),
    "XenStore stopped": Fault(
        stopped("xenstored", seconds=6), unsaid="nobody asks it anything meanwhile", goes_on=True
    ),
    "XenStore slow for a frontend that starts": Fault(
        store_trouble("frontend", store_delay_sec=0.03), "frontend", "XenStore is slow", node=False
    ),
    "XenStore slow for a backend that starts": Fault(
        store_trouble("backend", store_delay_sec=0.03), "backend", "XenStore is slow"
    ),
    "XenStore full for a frontend that starts": Fault(
        store_trouble("frontend", store_error="ENOSPC"), "frontend", "No space left", node=False
    ),
    "XenStore full for a backend that starts": Fault(
        store_trouble("backend", store_error="ENOSPC"), "backend", "No space left"
    ),
    "XenStore refuses a frontend's share": Fault(
        store_trouble("frontend", store_error="EDQUOT"), "frontend", "quota", node=False
    ),
    # nothing is left
    "no pages to grant at OPEN": Fault(
        refused_at_open("frontend", "grant", errno.ENOSPC), "frontend", "more pages"
    ),
    "no pages to map at OPEN": Fault(
        refused_at_open("backend", "map", errno.ENOMEM), "frontend", "refused OPEN"
    ),
    "no pages to grant at a connection": Fault(
        refused_at_connect("frontend", "grant", errno.ENOSPC), "frontend", "more pages"
    ),
    "no event channels in the guest": Fault(
        refused_at_connect("frontend", "bind_unbound", errno.ENOSPC), "frontend", "event channel"
    ),
    "no event channels on the host": Fault(
        refused_at_connect("backend", "bind_interdomain", errno.ENOSPC),
        "backend",
        "event channel",
        node=False,
    ),
    "no pages to map at a connection": Fault(
        refused_at_connect("backend", "map", errno.ENOMEM),
        "backend",
        "Cannot allocate memory",
        node=False,
    ),
    "no descriptors in the frontend": Fault(
        descriptors_used_up("frontend"), "frontend", "Too many open files"
    ),
    "no descriptors in the backend": Fault(
        descriptors_used_up("backend"), "backend", "Too many open files", node=False
    ),
    # the device
    "card unplugged": Fault(then(unplugged, plugged), "backend", "unplugged", node=False),
    "card's directories removed": Fault(
        then(removed(FRONT, BACK), plugged), "frontend", "removed from XenStore", node=False
    ),
    "backend's directory removed": Fault(
        then(removed(BACK), plugged), "backend", "removed from XenStore", node=False
    ),
}

# What every run of the tests breaks; `make faults` does all.
DAILY = (
    "backend killed",
    "frontend killed",
    "guest's PipeWire killed",
    "host's PipeWire killed",
    "guest's WirePlumber killed",
    "frontend killed at Initialised",
    "frontend killed at Connected",
    "backend killed at InitWait",
    "backend killed at Connected",
    "backend killed at Closing",
    "backend killed at the frontend's Initialised",
    "frontend killed in OPEN",
    "backend killed in OPEN",
    "backend killed in START",
    "backend stopped",
    "guest paused",
    "machine suspended, and the clock went on",
    "XenStore lost, backend killed",
    "host's PipeWire stopped",
    "XenStore slow for a frontend that starts",
    "XenStore full for a frontend that starts",
    "no pages to grant at OPEN",
    "no event channels on the host",
    "no descriptors in the backend",
    "card's directories removed",
)
