"""Several guests at one backend, all in one process on the simulated hypervisor, no PipeWire. What
each end asks of XenStore is counted: how long somebody waits is told in requests, not in seconds.
"""

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
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.real.xenstore import PyxsStore, open_socket
from xenpvaudio.xen.real.xs_link import Op
from xenpvaudio.xen.sim.domain import SimDomain, connect
from xenpvaudio.xen.sim.paths import XENSTORE, socket_path
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack
from xenpvaudio.xenbus.states import XenbusState

NAMES = {number: name for name, number in Op._asdict().items()}


class Counted:
    """What one end asks of XenStore, from here on: (operation, path)."""

    def __init__(self, store: PyxsStore) -> None:
        self.asked: list[tuple[str, str]] = []
        real = store._link.request

        def request(op: int, body: bytes, *rest: object) -> tuple[int, bytes]:
            self.asked.append((NAMES.get(op, ""), body.partition(b"\0")[0].decode()))
            return real(op, body, *rest)  # type: ignore[arg-type]

        store._link.request = request  # type: ignore[method-assign]

    def take(self) -> int:
        """How many since the last look."""
        taken = len(self.asked)
        self.asked.clear()
        return taken


class Crowd:
    """`tools` adds guests' cards; `host` is the backend's domain, a driver domain if not 0."""

    def __init__(self, directory: str, tools: Toolstack, host_domid: int = 0) -> None:
        self.directory = directory
        self.tools = tools
        self.domains: list[SimDomain] = []
        self._engines: list[Engine] = []
        self._frontends: dict[int, Frontend] = {}
        self._hands: list[PyxsStore] = []
        if host_domid != 0:
            tools.create_domain(host_domid, "driver")
        self.host = self._domain(host_domid)
        self.asked = Counted(self.host.store)
        policy = Policy(DomainPolicy(output=OutputSpec("null")))
        self.backend = Backend(self._engine(), self.host, policy)

    def _domain(self, domid: int) -> SimDomain:
        call_soon = asyncio.get_running_loop().call_soon_threadsafe
        self.domains.append(connect(self.directory, domid, call_soon))
        return self.domains[-1]

    def _engine(self) -> Engine:
        self._engines.append(Engine(None))
        return self._engines[-1]

    def create(self, domid: int, nodes: Mapping[str, str] | None = None) -> SimDomain:
        """A guest with a card, and nobody in it yet."""
        self.tools.create_domain(domid, f"guest{domid}")
        if self.host.domid != 0:  # a driver domain has a policy for whom it knows
            name = f"/local/domain/{domid}/name"
            self.tools.store.set_perms(name, ["n0", f"r{domid}", f"r{self.host.domid}"])
        self.tools.attach_vsnd(domid, 0, nodes or card_nodes(), self.host.domid)
        return self._domain(domid)

    def start(self, guest: SimDomain) -> Frontend:
        frontend = Frontend(self._engine(), guest, FrontendSettings())
        self._frontends[guest.domid] = frontend
        frontend.run()
        return frontend

    def hand(self, domid: int) -> PyxsStore:
        """A second connection of a guest to XenStore, for what its driver would not do."""
        path = socket_path(self.directory, domid, XENSTORE)
        self._hands.append(open_socket(path, domid=domid, call_soon=lambda *_: None))
        return self._hands[-1]

    def front(self, domid: int) -> FrontendDevice:
        return self._frontends[domid].devices["0"]

    def back(self, domid: int) -> BackendDevice:
        return self.backend.devices[domid, "0"]

    async def connected(self, domid: int) -> None:
        """Both ends, and each stream has asked what it may open."""
        await wait_for(
            lambda: (
                bool(self._frontends[domid].devices)
                and (domid, "0") in self.backend.devices
                and self.front(domid).state is XenbusState.CONNECTED
                and self.back(domid).state is XenbusState.CONNECTED
                and all(stream.space for stream in self.front(domid).streams())
            )
        )

    async def newcomer(self, domid: int) -> None:
        self.start(self.create(domid))
        await self.connected(domid)

    async def close(self) -> None:
        ends = [*self._frontends.values(), self.backend]
        await asyncio.gather(*(end.stop() for end in ends))
        for engine in self._engines:
            engine.close()
        for hand in self._hands:
            hand.close()
        for domain in self.domains:
            domain.grants.assert_cleaned_up()
            domain.channels.assert_cleaned_up()
            domain.close()


def run(tmp_path: Path, body: Callable[[Crowd], Awaitable[None]], host_domid: int = 0) -> None:
    async def session() -> None:
        sim = str(tmp_path / "xen")
        with start_hypervisor(sim) as hypervisor, Toolstack(sim) as tools:
            crowd = Crowd(sim, tools, host_domid)
            try:
                await body(crowd)
            finally:
                await crowd.close()
            assert hypervisor.report() == []

    asyncio.run(session())
