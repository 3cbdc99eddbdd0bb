"""A backend that stood still for longer than guests wait: its answers come too late, and then again
in time. The guest keeps its rings, as Linux's driver does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from interop.sound import eventually
from xenpvaudio.config import FrontendSettings
from xenpvaudio.engine.engine import Engine
from xenpvaudio.errors import PeerGoneError
from xenpvaudio.frontend.device import Frontend
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.hwparams import from_stream_config
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE
from xenpvaudio.xen.sim.domain import connect
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack


def test_frozen_backend_answers_the_next_request(tmp_path: Path) -> None:
    async def body(sim: str, backend: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        guest = connect(sim, 1, loop.call_soon_threadsafe)
        engine = Engine(None)
        frontend = Frontend(engine, guest, FrontendSettings())
        frontend.run()
        try:
            await asyncio.to_thread(
                eventually,
                lambda: any(s.space for d in frontend.devices.values() for s in d.streams()),
                "no connection",
            )
            stream = frontend.devices["0"].streams()[0]
            link = stream.link
            assert link is not None
            query = packets.QueryRequest(0, from_stream_config(stream.config))
            assert (await link.ask(query)).ok
            backend.send_signal(signal.SIGSTOP)
            with pytest.raises(PeerGoneError):
                await link.ask(query)
            backend.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.5)
            assert (await link.ask(query)).ok
        finally:
            await frontend.stop()
            engine.close()
            guest.close()

    sim = tmp_path / "xen"
    with start_hypervisor(sim), closing(Toolstack(str(sim))) as tools:
        tools.create_domain(1, "work")
        command = [sys.executable, "-m", "xenpvaudio", "backend", "--output", "null"]
        with subprocess.Popen(command, env={**os.environ, SIM_VARIABLE: f"{sim}:0"}) as backend:
            try:
                tools.attach_vsnd(1, 0, card_nodes())
                asyncio.run(body(str(sim), backend))
            finally:
                backend.terminate()
