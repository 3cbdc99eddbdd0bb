"""The fault matrix: what breaks, who comes back, and what must be said of it.

Not in it: a WirePlumber that is killed. WirePlumber 0.4.13 links no device again that it finds with
its ports made, PipeWire's own module-pipe-tunnel as little as ours.
"""

from __future__ import annotations

import errno
import signal
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


@dataclass(frozen=True)
class Fault:
    """log, words: which half says what happened, and a part of the line.

    node: the sink is the same object afterwards, and the applications never notice more than
    silence. Without it they are started again. goes_on: sound does not even stop.
    """

    broken: Broken
    log: str = ""
    words: str = ""
    node: bool = True
    goes_on: bool = False


FAULTS: dict[str, Fault] = {
    # killed while it plays and records
    "backend killed": Fault(killed("backend"), "frontend", "has started anew"),
    "backend ended in order": Fault(
        killed("backend", how=signal.SIGTERM), "frontend", "has closed"
    ),
    "frontend killed": Fault(killed("frontend"), "backend", "frontend has died", node=False),
    "both halves killed": Fault(killed("frontend", "backend"), node=False),
    "guest's PipeWire killed": Fault(
        daemons_killed("guest", *DAEMONS), "frontend", "PipeWire is gone", node=False
    ),
    "host's PipeWire killed": Fault(
        daemons_killed("host", *DAEMONS), "backend", "PipeWire is gone"
    ),
    # killed at a step of the handshake
    "frontend killed at Initialising": Fault(killed_at("frontend", FRONT, "1"), node=False),
    "frontend killed at Initialised": Fault(killed_at("frontend", FRONT, "3"), node=False),
    "frontend killed at Connected": Fault(killed_at("frontend", FRONT, "4"), node=False),
    "frontend killed at Closing": Fault(
        killed_at("frontend", FRONT, "5", at_end=True), node=False
    ),
    "frontend killed at Closed": Fault(killed_at("frontend", FRONT, "6", at_end=True), node=False),
    "frontend killed at the backend's Connected": Fault(
        killed_at("frontend", BACK, "4"), node=False
    ),
    "backend killed at InitWait": Fault(killed_at("backend", BACK, "2")),
    "backend killed at Connected": Fault(killed_at("backend", BACK, "4")),
    "backend killed at Closed": Fault(killed_at("backend", BACK, "6", at_end=True)),
    "backend killed at the frontend's Initialised": Fault(killed_at("backend", FRONT, "3")),
    "backend killed at Closing": Fault(peer_closes("backend", BACK), node=False),
    "backend killed at the frontend's Closing": Fault(
        peer_closes("backend", FRONT), node=False
    ),
    "frontend killed in OPEN": Fault(killed_in_open("frontend"), node=False),
    "backend killed in OPEN": Fault(killed_in_open("backend")),
    "frontend killed in START": Fault(killed_in_start("frontend"), node=False),
    "backend killed in START": Fault(killed_in_start("backend"), node=False),
    # stands still
    "frontend stopped": Fault(stopped("frontend"), "frontend", "stood still"),
    "backend stopped": Fault(stopped("backend"), "frontend", "lost the backend"),
    "guest's PipeWire stopped": Fault(stopped("guest pipewire")),
    "host's PipeWire stopped": Fault(stopped("host pipewire")),
    "guest's WirePlumber stopped": Fault(stopped("guest wireplumber"), goes_on=True),
    "host's WirePlumber stopped": Fault(stopped("host wireplumber"), goes_on=True),
    "guest paused": Fault(stopped("guest"), "frontend", "stood still"),
    "host paused": Fault(stopped("host"), "frontend", "lost the backend"),
    "machine suspended, and the clock went on": Fault(
        stopped("machine"), "frontend", "stood still"
    ),
    "backend stopped for 10 s": Fault(
        stopped("backend", seconds=10), "frontend", "lost the backend"
    ),
    "frontend stopped for 10 s": Fault(
        stopped("frontend", seconds=10), "frontend", "stood still"
    ),
    "guest paused for 10 s": Fault(
        stopped("guest", seconds=10), "frontend", "stood still"
    ),
    "host paused for 10 s": Fault(
        stopped("host", seconds=10), "frontend", "lost the backend"
    ),
    "machine suspended for 30 s": Fault(
        stopped("machine", seconds=30), "frontend", "stood still"
    ),
    # XenStore
    "XenStore lost": Fault(store_lost(), "frontend", "waiting for it to come back", goes_on=True),
    "XenStore lost, backend killed": Fault(
        store_lost(meanwhile="backend"), "frontend", "waiting for it to come back"
    ),
    "XenStore stopped": Fault(stopped("xenstored", seconds=6), goes_on=True),
    "XenStore slow for a frontend that starts": Fault(
        store_trouble("frontend", store_delay_sec=0.03), node=False
    ),
    "XenStore slow for a backend that starts": Fault(
        store_trouble("backend", store_delay_sec=0.03)
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
        refused_at_connect("backend", "bind_interdomain", errno.ENOSPC), "backend", "event channel",
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
    "card unplugged": Fault(then(unplugged, plugged), "backend", "gone", node=False),
    "card's directories removed": Fault(
        then(removed(FRONT, BACK), plugged), "backend", "gone", node=False
    ),
    "backend's directory removed": Fault(
        then(removed(BACK), plugged), "backend", "gone", node=False
    ),
}  # fmt: skip

# What every run of the tests breaks; `make faults` does all.
DAILY = (
    "backend killed",
    "frontend killed",
    "guest's PipeWire killed",
    "host's PipeWire killed",
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
    "XenStore full for a frontend that starts",
    "no pages to grant at OPEN",
    "no event channels on the host",
    "no descriptors in the backend",
    "card's directories removed",
)
