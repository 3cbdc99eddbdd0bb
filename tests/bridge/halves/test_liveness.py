"""A frontend process that is killed: its backend hears of it at once (liveness extension), without
PipeWire, on the simulated hypervisor.

The frontend is a process of its own, the backend lives here. XenStore's state node says nothing of
the death, so whatever the backend does comes from the byte in the event page.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from waiting import wait_for
from xenpvaudio.backend.backend import Backend
from xenpvaudio.backend.device import BackendDevice
from xenpvaudio.config import DomainPolicy, OutputSpec, Policy
from xenpvaudio.engine.engine import Engine
from xenpvaudio.sndif.codes import FEATURE_LIVENESS_EXT
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.sim.domain import connect
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack
from xenpvaudio.xenbus.states import XenbusState

ROOT = Path(__file__).resolve().parents[3]
BACK, FRONT = "/local/domain/0/backend/vsnd/1/0", "/local/domain/1/device/vsnd/0"

FRONTEND = """
import asyncio, sys
from xenpvaudio.frontend import device as module
from xenpvaudio.config import FrontendSettings
from xenpvaudio.engine.engine import Engine
from xenpvaudio.frontend.device import Frontend
from xenpvaudio.xen.sim.domain import connect

module.FEATURE_LIVENESS_EXT = sys.argv[2]  # another name: a frontend that does not know it

async def main():
    domain = connect(sys.argv[1], 1, asyncio.get_running_loop().call_soon_threadsafe)
    engine = Engine(None)
    frontend = Frontend(engine, domain, FrontendSettings())
    frontend.run()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await frontend.stop()
    engine.close()
    domain.close()

asyncio.run(main())
"""


class Host:
    """The backend, and the means to start and kill frontends."""

    def __init__(self, tools: Toolstack, backend: Backend) -> None:
        self.tools, self.backend = tools, backend
        self.frontends: list[subprocess.Popen[bytes]] = []

    @property
    def device(self) -> BackendDevice:
        return self.backend.devices[1, "0"]

    async def start_frontend(self, feature: str = FEATURE_LIVENESS_EXT) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", FRONTEND, self.tools.directory, feature]
        self.frontends.append(subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT))
        await wait_for(
            lambda: (
                (1, "0") in self.backend.devices
                and self.device.state is XenbusState.CONNECTED
                and self.tools.store.get(f"{FRONT}/state") == "4"
            )
        )
        return self.frontends[-1]


def run(tmp_path: Path, body: Callable[[Host], Awaitable[None]]) -> None:
    async def session() -> None:
        sim = str(tmp_path / "xen")
        loop = asyncio.get_running_loop()
        with start_hypervisor(sim) as hypervisor, Toolstack(sim) as tools:
            tools.create_domain(1, "work")
            domain = connect(sim, 0, loop.call_soon_threadsafe)
            engine = Engine(None)
            backend = Backend(engine, domain, Policy(DomainPolicy(output=OutputSpec("null"))))
            host = Host(tools, backend)
            tools.attach_vsnd(1, 0, card_nodes())
            backend.run()
            try:
                await body(host)
            finally:
                for process in host.frontends:
                    process.kill()
                    process.communicate()
                await backend.stop()
                engine.close()
                domain.close()
            await wait_for(lambda: hypervisor.report() == [])

    asyncio.run(session())


def test_killed_frontend_is_noticed_and_its_device_free_for_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(host: Host) -> None:
        frontend = await host.start_frontend()
        frontend.kill()
        await wait_for(lambda: host.device.state is XenbusState.INIT_WAIT)
        assert host.tools.store.read(f"{FRONT}/state") == "4"  # nobody has told XenStore
        assert host.device.streams == {}
        assert "frontend has died" in caplog.text
        await host.start_frontend()
        assert len(host.device.streams) == 2

    run(tmp_path, body)


def test_frontend_that_ends_in_good_order_is_not_called_dead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(host: Host) -> None:
        frontend = await host.start_frontend()
        frontend.communicate()  # its standard input ends
        await wait_for(lambda: host.tools.store.get(f"{FRONT}/state") == "6")
        await wait_for(lambda: host.device.state is XenbusState.INIT_WAIT)
        assert not [r for r in caplog.records if r.levelno >= logging.WARNING]

    run(tmp_path, body)


@pytest.mark.parametrize("silent", ["backend", "frontend"])
def test_without_both_feature_nodes_nobody_watches(silent: str, tmp_path: Path) -> None:
    async def body(host: Host) -> None:
        store = host.tools.store
        if silent == "backend":  # as another backend: the node is never there
            await wait_for(lambda: store.get(f"{BACK}/{FEATURE_LIVENESS_EXT}") == "1")
            store.remove(f"{BACK}/{FEATURE_LIVENESS_EXT}")
            frontend = await host.start_frontend()
            assert not store.exists(f"{FRONT}/{FEATURE_LIVENESS_EXT}")
        else:
            frontend = await host.start_frontend("feature-of-another-kind")
        frontend.kill()
        frontend.wait()
        await asyncio.sleep(0.5)
        assert host.device.state is XenbusState.CONNECTED
        assert len(host.device.streams) == 2

    run(tmp_path, body)


def test_node_left_by_a_killed_frontend_says_nothing_of_the_next_one(tmp_path: Path) -> None:
    async def body(host: Host) -> None:
        (await host.start_frontend()).kill()
        await wait_for(lambda: host.device.state is XenbusState.INIT_WAIT)
        await host.start_frontend("feature-of-another-kind")  # as Linux' own driver
        assert host.tools.store.read(f"{FRONT}/{FEATURE_LIVENESS_EXT}") == "1"
        await asyncio.sleep(0.5)
        assert host.device.state is XenbusState.CONNECTED

    run(tmp_path, body)
