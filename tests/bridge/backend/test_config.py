"""What the backend's log says of a card that cannot be: once, and before the guest has a driver."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from waiting import wait_for
from xenpvaudio.backend.backend import Backend
from xenpvaudio.config import DomainPolicy, OutputSpec, Policy
from xenpvaudio.engine.engine import Engine
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.sim.domain import connect
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

FRONT = "/local/domain/1/device/vsnd/0"
BACK = "/local/domain/0/backend/vsnd/1/0"


MISTAKES = [
    ({"sample-formats": "s16_le,s17_le"}, 'sample-formats = "s16_le,s17_le"'),
    ({"channels-min": "4", "channels-max": "2"}, 'channels-min = "4"'),
    ({f"{n}/0/type": "p" for n in range(9)}, "has 10 streams, policy allows 8"),
    # A null device's timer went by it: the audio thread at 96 % for a microphone without leave.
    ({"sample-rates": "48000,100000000"}, "sample rate 100000000 is more than the policy allows"),
    ({"channels-max": "255"}, "channels-max 255 is more than the policy allows, 64"),
]


@pytest.mark.parametrize(
    ("mistake", "words"), MISTAKES, ids=["format", "channels", "streams", "rate", "positions"]
)
def test_mistake_in_a_card_is_one_line_naming_domain_and_node(
    mistake: dict[str, str], words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]

    async def session() -> None:
        sim = str(tmp_path / "xen")
        loop = asyncio.get_running_loop()
        with start_hypervisor(sim), Toolstack(sim) as tools:
            tools.create_domain(1, "work")
            host = connect(sim, 0, loop.call_soon_threadsafe)
            guest = connect(sim, 1, loop.call_soon_threadsafe)
            engine = Engine(None)
            policy = Policy(DomainPolicy(output=OutputSpec("null"), max_streams=8))
            backend = Backend(engine, host, policy)
            backend.run()
            tools.attach_vsnd(1, 0, {**card_nodes(), **mistake})
            await wait_for(lambda: bool(lines()))
            assert tools.store.read(f"{BACK}/state") == "2"  # xl does not wait
            for key in ("ring-ref", "event-channel", "evt-ring-ref", "evt-event-channel"):
                guest.store.write(f"{FRONT}/0/0/{key}", "9")
            guest.store.write(f"{FRONT}/state", "3")  # a driver that does not mind
            await asyncio.sleep(0.5)
            await backend.stop()
            engine.close()
            guest.close()
            host.close()

    asyncio.run(session())
    assert len(lines()) == 1, lines()
    assert lines()[0].startswith("domain 1 (work) vsnd/0: /local/domain/1/device/vsnd/0")
    assert words in lines()[0]


def test_device_that_is_being_removed_is_no_mistake(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def session() -> None:
        sim = str(tmp_path / "xen")
        loop = asyncio.get_running_loop()
        with start_hypervisor(sim), Toolstack(sim) as tools:
            tools.create_domain(1, "work")
            host = connect(sim, 0, loop.call_soon_threadsafe)
            engine = Engine(None)
            backend = Backend(engine, host, Policy(DomainPolicy(output=OutputSpec("null"))))
            # libxl takes the guest's directory away first.
            for node, text in (("online", "1"), ("state", "1"), ("frontend", FRONT)):
                tools.store.write(f"{BACK}/{node}", text)
            backend.run()
            await wait_for(lambda: tools.store.read(f"{BACK}/state") == "2")
            await asyncio.sleep(0.2)
            await backend.stop()
            engine.close()
            host.close()

    asyncio.run(session())
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("domid", [0, 2], ids=["dom0", "driver domain"])
def test_only_a_driver_domain_removes_the_directory_of_a_device_that_is_to_go(
    domid: int, tmp_path: Path
) -> None:
    back = f"/local/domain/{domid}/backend/vsnd/1/0"

    async def session() -> None:
        sim = str(tmp_path / "xen")
        loop = asyncio.get_running_loop()
        with start_hypervisor(sim), Toolstack(sim) as tools:
            tools.create_domain(1, "work")
            if domid:
                tools.create_domain(domid, "driver")
            host = connect(sim, domid, loop.call_soon_threadsafe)
            engine = Engine(None)
            backend = Backend(engine, host, Policy(DomainPolicy(output=OutputSpec("null"))))
            backend.run()
            tools.attach_vsnd(1, 0, card_nodes(), domid)
            await wait_for(lambda: tools.store.get(f"{back}/state") == "2")
            tools.store.write(f"{back}/online", "0")  # as libxl does
            tools.store.write(f"{back}/state", "5")
            await wait_for(lambda: not backend.devices)
            assert tools.store.get(f"{back}/state") == (None if domid else "6")
            await backend.stop()
            engine.close()
            host.close()

    asyncio.run(session())
