"""A xenstored that is killed and started again knows nothing any more: no domain, no card. Both
halves outlive it; what is lost comes back with the toolstack's domain and card, and the frontend's
restart (no guest is told that its XenStore is another one)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from interop.world import INTRODUCE
from interop.xenstored import RealXenstored
from pair import CONFIG
from waiting import wait_for
from xenpvaudio.backend.backend import Backend
from xenpvaudio.config import DomainPolicy, FrontendSettings, OutputSpec, Policy
from xenpvaudio.engine.engine import Engine
from xenpvaudio.frontend.device import Frontend
from xenpvaudio.frontend.link import FrontLink
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.hwparams import from_stream_config
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.api import Domain
from xenpvaudio.xen.real.xenstore import open_socket
from xenpvaudio.xen.sim.domain import SimDomain, connect
from xenpvaudio.xen.sim.process import HypervisorProcess, start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack
from xenpvaudio.xenbus.states import XenbusState

NULL = Policy(DomainPolicy(output=OutputSpec("null")))


class Machine:
    """XenStore is Debian's xenstored, all else the simulated hypervisor's."""

    def __init__(self, sim: str) -> None:
        self.sim = sim
        self.server = RealXenstored()
        self.server.add_domain(1)
        self.tools = Toolstack(sim)
        self.tools.create_domain(1, "work")
        self.tools.store.close()
        self.tools.store = open_socket(self.server.socket_path(0))

    def build(self) -> None:
        """What a toolstack does for a domain with a card."""
        store = self.tools.store
        for path in ("/local/domain/1", "/local/domain/1/device"):
            store.mkdir(path)
            store.set_perms(path, ["n0", "r1"])
        store.write("/local/domain/1/name", "work")
        store.request(INTRODUCE, "introduce domain 1", b"1\0001\0007\0")
        self.tools.attach_vsnd(1, 0, card_nodes())

    def domain(self, domid: int, devices: SimDomain) -> Domain:
        call_soon = asyncio.get_running_loop().call_soon_threadsafe
        store = open_socket(self.server.socket_path(domid), domid=domid, call_soon=call_soon)
        return Domain(domid, store, devices.grants, devices.channels)

    def close(self) -> None:
        self.tools.close()
        self.server.close()


@pytest.fixture
def hypervisor(tmp_path: Path) -> Iterator[HypervisorProcess]:
    with start_hypervisor(tmp_path) as hypervisor:
        yield hypervisor


def link_of(frontend: Frontend) -> FrontLink | None:
    device = frontend.devices.get("0")
    if device is None or device.state is not XenbusState.CONNECTED:
        return None
    streams = device.streams()
    return streams[0].link if all(stream.space for stream in streams) else None


async def connected(frontend: Frontend) -> FrontLink:
    await wait_for(lambda: link_of(frontend) is not None)
    link = link_of(frontend)
    assert link is not None
    return link


async def idles(seconds: float) -> bool:
    """Whether this process leaves the processor alone meanwhile."""
    began, used = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    return time.process_time() - used < (time.monotonic() - began) / 2


async def outlived(machine: Machine) -> list[str]:
    """Both halves through the death and the return of xenstored; what the host's was told of it."""
    lost: list[str] = []
    devices = [connect(machine.sim, domid) for domid in (0, 1)]
    host, guest = (machine.domain(domid, devices[domid]) for domid in (0, 1))
    host.store.on_lost = lambda error: lost.append(str(error))
    engines = Engine(None), Engine(None)
    machine.build()
    backend = Backend(engines[0], host, NULL)
    frontend = Frontend(engines[1], guest, FrontendSettings())
    backend.run()
    frontend.run()
    link = await connected(frontend)
    await link.open(CONFIG, 512)

    machine.server.kill()
    await wait_for(lambda: bool(lost))
    assert await idles(1.0)
    card = from_stream_config(frontend.devices["0"].streams()[0].config)
    assert (await link.ask(packets.QueryRequest(0, card))).ok  # sound needs no XenStore

    machine.server.start()
    await wait_for(lambda: not backend.devices)
    assert host.store.exists("/") and not host.store.exists("/local/domain/1")
    host.grants.assert_cleaned_up()
    assert await idles(1.0)

    machine.tools.store.close()
    machine.tools.store = open_socket(machine.server.socket_path(0))
    machine.build()
    await frontend.stop()  # restarted
    guest.store.close()
    guest = machine.domain(1, devices[1])
    frontend = Frontend(engines[1], guest, FrontendSettings())
    frontend.run()
    await (await connected(frontend)).open(CONFIG, 512)

    await asyncio.gather(frontend.stop(), backend.stop())
    for engine in engines:
        engine.close()
    for domain in (guest, host):
        domain.grants.assert_cleaned_up()
        domain.channels.assert_cleaned_up()
        domain.close()
    for device in devices:
        device.close()
    return lost


def test_both_halves_outlive_a_xenstored_that_forgets_everything(
    hypervisor: HypervisorProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Machine(hypervisor.directory)) as machine, caplog.at_level(logging.INFO):
        (lost,) = asyncio.run(outlived(machine))
    assert "XenStore's connection broke" in lost
    said = "\n".join(caplog.messages)
    assert "domain 1 (work) vsnd/0: removed from XenStore: the card is gone" in said
    assert "unexpected" not in said and "Traceback" not in said
    assert len(caplog.messages) < 30, said
    assert hypervisor.report() == []
