"""A simulated hypervisor with a host and a guest, and what waits for their events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.xen.sim_world import at_once
from xenpvaudio.xen.sim import (
    HypervisorProcess,
    SimDomain,
    Toolstack,
    connect,
    start_hypervisor,
)


@pytest.fixture
def hypervisor(tmp_path: Path) -> Iterator[HypervisorProcess]:
    with start_hypervisor(tmp_path) as hypervisor:
        yield hypervisor


@pytest.fixture
def toolstack(hypervisor: HypervisorProcess) -> Iterator[Toolstack]:
    with Toolstack(hypervisor.directory) as toolstack:
        toolstack.create_domain(1, "guest")
        yield toolstack


@pytest.fixture
def host(hypervisor: HypervisorProcess, toolstack: Toolstack) -> Iterator[SimDomain]:
    domain = connect(hypervisor.directory, 0, at_once)
    yield domain
    domain.close()


@pytest.fixture
def guest(hypervisor: HypervisorProcess, toolstack: Toolstack) -> Iterator[SimDomain]:
    domain = connect(hypervisor.directory, 1, at_once)
    yield domain
    domain.close()
