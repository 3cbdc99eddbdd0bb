"""The simulated Xen, from outside: `python -m xenpvaudio.xen.sim DIR` runs one; the rest is names.

start_hypervisor() starts one as a process, Toolstack makes and destroys domains and their devices,
connect() makes a process part of a domain. All that lives in DIR, and many may run side by side.
"""

from __future__ import annotations

import sys

from .sim_domain import SimDomain, connect
from .sim_hypervisor import Hypervisor, main
from .sim_process import HypervisorProcess, start_hypervisor
from .sim_toolstack import Toolstack

__all__ = [
    "Hypervisor",
    "HypervisorProcess",
    "SimDomain",
    "Toolstack",
    "connect",
    "start_hypervisor",
]

if __name__ == "__main__":
    sys.exit(main())
