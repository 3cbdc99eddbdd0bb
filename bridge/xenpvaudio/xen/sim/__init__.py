"""The simulated Xen, from outside: `python -m xenpvaudio.xen.sim DIR` runs one; the rest is names.

start_hypervisor() starts one as a process, Toolstack makes and destroys domains and their devices,
connect() makes a process part of a domain. All that lives in DIR, and many may run side by side.

May use: xen.api, xen.devices, xen.native, xen.pages, xen.real.
"""

from __future__ import annotations

from .domain import SimDomain, connect
from .hypervisor import Hypervisor
from .process import HypervisorProcess, start_hypervisor
from .toolstack import Toolstack

__all__ = [
    "Hypervisor",
    "HypervisorProcess",
    "SimDomain",
    "Toolstack",
    "connect",
    "start_hypervisor",
]
