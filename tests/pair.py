"""A guest's frontend and the backend in one process on the simulated hypervisor, no PipeWire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from waiting import wait_for
from xenpvaudio.backend.backend import Backend
from xenpvaudio.backend.device import BackendDevice
from xenpvaudio.config import DomainPolicy, FrontendSettings, OutputSpec, Policy
from xenpvaudio.engine.engine import Engine
from xenpvaudio.frontend.device import Frontend, FrontendDevice
from xenpvaudio.frontend.link import FrontLink
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.codes import Operation, PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.sim.domain import connect
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack
from xenpvaudio.xenbus.states import XenbusState

CONFIG = Config(PcmFormat.S16_LE, 48000, 2, 256, 4096)


class Pair:
    """One guest with one card, connected."""

    def __init__(self, front: FrontendDevice, back: BackendDevice, backend: Backend) -> None:
        self.front = front
        self.back = back
        self.backend = backend

    @property
    def link(self) -> FrontLink:
        link = self.front.streams()[0].link
        assert link is not None
        return link

    async def control(self, operation: Operation, data: bytes) -> tuple[int, bytes]:
        """A volume or mute operation with `data` in the shared buffer: status, buffer after."""
        assert self.link._buffer is not None
        view = self.link._buffer.view
        view[0 : len(data)] = data
        response = await self.link.ask(packets.TransferRequest(0, operation, 0, len(data)))
        return response.status, bytes(view[0 : len(data)])


def run(
    tmp_path: Path,
    body: Callable[[Pair], Awaitable[None]],
    nodes: Mapping[str, str] | None = None,
    record: Path | None = None,
    policy: DomainPolicy | None = None,
) -> None:
    """Runs `body` with a connected pair; afterwards nothing may be left granted or mapped. `nodes`:
    the card, if not the usual one; `record`: as for the backend; `policy`: if not the default on a
    null device."""

    async def session() -> None:
        sim = tmp_path / "xen"
        loop = asyncio.get_running_loop()
        with start_hypervisor(sim) as hypervisor, Toolstack(str(sim)) as tools:
            tools.create_domain(1, "work")
            host = connect(str(sim), 0, loop.call_soon_threadsafe)
            guest = connect(str(sim), 1, loop.call_soon_threadsafe)
            engines = Engine(None), Engine(None)
            allowed = Policy(policy or DomainPolicy(output=OutputSpec("null")))
            backend = Backend(engines[0], host, allowed, record=record)
            frontend = Frontend(engines[1], guest, FrontendSettings())
            backend.run()
            tools.attach_vsnd(1, 0, nodes or card_nodes())
            frontend.run()
            try:
                await wait_for(
                    lambda: (
                        bool(frontend.devices and backend.devices)
                        and frontend.devices["0"].state is XenbusState.CONNECTED
                        and backend.devices[1, "0"].state is XenbusState.CONNECTED
                        and frontend.devices["0"].idle
                        and backend.devices[1, "0"].idle
                        and all(s.space for s in frontend.devices["0"].streams())
                    )
                )
                await body(Pair(frontend.devices["0"], backend.devices[1, "0"], backend))
            finally:
                await asyncio.gather(frontend.stop(), backend.stop())
                for engine in engines:
                    engine.close()
                for domain in (guest, host):
                    domain.grants.assert_cleaned_up()
                    domain.channels.assert_cleaned_up()
                    domain.close()
            assert hypervisor.report() == []

    asyncio.run(session())
