"""The host's stream before and after a guest's sound: it is awake from OPEN on, and rests again.

Backend and frontend in this process, the host's PipeWire a real daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from interop.sound import eventually
from xenpvaudio.backend import stream as back_stream
from xenpvaudio.backend.backend import Backend
from xenpvaudio.config import DomainPolicy, FrontendSettings, Policy
from xenpvaudio.engine.engine import Engine
from xenpvaudio.frontend.device import Frontend
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.graph_dump import named_node
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import card_nodes, graph
from xenpvaudio.xen.sim.domain import connect
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

HOST_STREAM = "xenpv.work.vsnd/0.0/0"
CONFIG = Config(PcmFormat.S16_LE, 48000, 2, 1024, 8192)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipeWireSession]:
    """A host with a loudspeaker; this process is a client of it."""
    session = PipeWireSession(
        tmp_path / "host", name="host", quantum=1024, fragments=[pwconf.null_sink()]
    )
    with session:
        for key, text in session.env.items():
            monkeypatch.setenv(key, text)
        yield session


def stream_state(host: PipeWireSession) -> str:
    """ "running", "suspended"...; "" if there is no such stream."""
    node = named_node(graph(host), HOST_STREAM)
    return "" if node is None else str(node["info"].get("state"))


@contextmanager
def machine(directory: Path) -> Iterator[str]:
    with start_hypervisor(directory), closing(Toolstack(str(directory))) as tools:
        tools.create_domain(1, "work")
        tools.attach_vsnd(1, 0, card_nodes(capture=False))
        yield str(directory)


async def in_time(condition: Any, what: str) -> None:
    await asyncio.to_thread(eventually, condition, what)


def test_host_runs_from_open_on_and_rests_if_nothing_starts(
    host: PipeWireSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(back_stream, "UNUSED_SEC", 1.5)

    async def body(sim: str) -> None:
        loop = asyncio.get_running_loop()
        dom0, guest = (connect(sim, domid, loop.call_soon_threadsafe) for domid in (0, 1))
        engines = Engine("host"), Engine(None)
        engines[0].connect_pipewire()
        backend = Backend(engines[0], dom0, Policy(DomainPolicy()))
        frontend = Frontend(engines[1], guest, FrontendSettings())
        backend.run()
        frontend.run()
        try:
            await in_time(
                lambda: any(s.space for d in frontend.devices.values() for s in d.streams()),
                "no connection",
            )
            link = frontend.devices["0"].streams()[0].link
            assert link is not None
            await link.open(CONFIG, 1024)
            stream = backend.devices[1, "0"].streams["0/0"]
            await in_time(lambda: stream_state(host) == "running", "the host's stream sleeps")
            await in_time(lambda: stream.back.stats.cycles > 2, "the host takes nothing")
            assert stream.back.stats.written_frames == stream.back.stats.xruns == 0
            await in_time(lambda: stream_state(host) != "running", "it keeps the host awake")
            assert stream_state(host)  # and is still there
        finally:
            await asyncio.gather(frontend.stop(), backend.stop())
            for engine in engines:
                engine.close()
            for domain in (guest, dom0):
                domain.close()

    with machine(tmp_path / "xen") as sim:
        asyncio.run(body(sim))
