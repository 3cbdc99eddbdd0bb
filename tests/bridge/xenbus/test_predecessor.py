"""What a half says of a device that it finds as a killed predecessor left it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from waiting import wait_for
from xenpvaudio.backend.backend import Backend
from xenpvaudio.config import DomainPolicy, FrontendSettings, OutputSpec, Policy
from xenpvaudio.engine.engine import Engine
from xenpvaudio.frontend.device import Frontend
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.sim.domain import connect
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

DOMIDS = {"frontend": 1, "backend": 0}
DIRECTORIES = {
    "frontend": "/local/domain/1/device/vsnd/0",
    "backend": "/local/domain/0/backend/vsnd/1/0",
}
NULL = Policy(DomainPolicy(output=OutputSpec("null")))


def said(half: str, state: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """By a half that starts on a device whose own state is that; lines that name a state."""

    async def body() -> None:
        sim = str(tmp_path / "xen")
        loop = asyncio.get_running_loop()
        with start_hypervisor(sim), Toolstack(sim) as tools:
            tools.create_domain(1, "work")
            tools.attach_vsnd(1, 0, card_nodes())
            tools.store.write(f"{DIRECTORIES[half]}/state", state)
            domain = connect(sim, DOMIDS[half], loop.call_soon_threadsafe)
            engine = Engine(None)
            if half == "frontend":
                running: Frontend | Backend = Frontend(engine, domain, FrontendSettings())
            else:
                running = Backend(engine, domain, NULL)
            running.run()
            await wait_for(lambda: tools.store.read(f"{DIRECTORIES[half]}/state") in ("1", "2"))
            await running.stop()
            engine.close()
            domain.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(body())
    return [line for line in caplog.messages if "left in state" in line]


@pytest.mark.parametrize(
    ("half", "state", "name"),
    [
        ("frontend", "3", "initialised"),
        ("frontend", "4", "connected"),
        ("frontend", "5", "closing"),
        ("backend", "4", "connected"),
        ("backend", "5", "closing"),
    ],
)
def test_a_device_that_was_not_closed_is_told(
    half: str, state: str, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = said(half, state, tmp_path, caplog)
    assert f"vsnd/0: left in state {name} by a program that was killed: connecting anew" in line


@pytest.mark.parametrize("half", DOMIDS)
@pytest.mark.parametrize("state", ["1", "6", "", "nonsense"])
def test_a_new_device_and_one_that_was_closed_are_no_news(
    half: str, state: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert said(half, state, tmp_path, caplog) == []
