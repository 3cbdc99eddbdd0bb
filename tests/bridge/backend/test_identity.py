"""Whose policy a guest gets, from a backend that may or may not read its name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from xenpvaudio.backend.backend import Backend
from xenpvaudio.backend.device import BackendDevice
from xenpvaudio.config import DomainPolicy, OutputSpec, Policy
from xenpvaudio.engine.engine import Engine
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.sim.domain import connect
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack
from xenpvaudio.xenbus.device import XenbusDevice

FRONT = "/local/domain/1/device/vsnd/0"
UUID = "6a9f0c1e-1111-4222-8333-444455556666"
DEFAULT = DomainPolicy(output=OutputSpec("null"), microphone=True)
STRICT = DomainPolicy(output=OutputSpec("null"), max_streams=7)
UNREADABLE = "the name of domain 1 cannot be read"


def serve(
    tmp_path: Path,
    policy: Policy,
    domid: int,
    nodes: dict[str, str],
    done: Callable[[BackendDevice], bool],
    look: Callable[[BackendDevice], None],
) -> None:
    """A guest, "guest1", with a backend in domain `domid`; it says that its driver is ready, with
    `nodes` as its rings. `look` sees the device when `done`."""

    async def session() -> None:
        sim = str(tmp_path / "xen")
        loop = asyncio.get_running_loop()
        with start_hypervisor(sim), Toolstack(sim) as tools:
            tools.create_domain(1, "guest1")
            tools.store.write("/local/domain/1/vm", f"/vm/{UUID}")
            if domid:
                tools.create_domain(domid, "driver")
            host = connect(sim, domid, loop.call_soon_threadsafe)
            guest = connect(sim, 1, loop.call_soon_threadsafe)
            engine = Engine(None)
            backend = Backend(engine, host, policy)
            backend.run()
            tools.attach_vsnd(1, 0, card_nodes(capture=False), domid)
            for key, text in nodes.items():
                guest.store.write(f"{FRONT}/0/0/{key}", text)
            for _ in range(2000):
                device = backend.devices.get((1, "0"))
                if device is not None and device.state == 2 and not nodes.get("told"):
                    guest.store.write(f"{FRONT}/state", "3")
                    nodes["told"] = "yes"
                if device is not None and done(device):
                    break
                await asyncio.sleep(0.01)
            else:
                raise AssertionError("did not happen within 20 s")
            await asyncio.sleep(0.3)
            look(device)
            await backend.stop()
            engine.close()
            guest.close()
            host.close()

    asyncio.run(session())


def rings() -> dict[str, str]:
    keys = ("ring-ref", "event-channel", "evt-ring-ref", "evt-event-channel")
    return dict.fromkeys(keys, "9")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "policy",
    [
        Policy(DEFAULT, {"guest1": STRICT}),
        Policy(DEFAULT, uuids={UUID: STRICT}),
        Policy(DEFAULT, domids={2: STRICT}),
        Policy(DEFAULT),
    ],
    ids=["by name", "by uuid", "another's number", "nothing"],
)
def test_a_guest_whose_name_cannot_be_read_is_refused_with_one_error(
    policy: Policy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def look(device: BackendDevice) -> None:
        assert device.streams == {}

    serve(tmp_path, policy, 2, rings(), lambda device: bool(told(caplog)), look)
    (line,) = told(caplog)
    assert UNREADABLE in line and "[domid.1]" in line


@pytest.mark.parametrize(
    ("domid", "policy"),
    [
        (2, Policy(DEFAULT, domids={1: STRICT})),
        (2, Policy(DEFAULT, unnamed=STRICT)),
        (0, Policy(DEFAULT, {"guest1": STRICT})),
        (0, Policy(DEFAULT, {"guest1": DEFAULT}, uuids={UUID: STRICT})),
    ],
    ids=["number", "unnamed", "name", "uuid"],
)
def test_what_is_said_for_a_guest_is_found(
    domid: int, policy: Policy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def look(device: BackendDevice) -> None:
        assert device.policy is STRICT

    serve(tmp_path, policy, domid, rings(), lambda device: device.policy is STRICT, look)
    assert not [line for line in told(caplog) if UNREADABLE in line]


def test_what_a_guest_writes_for_its_rings_reaches_the_log_quoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = rings() | {"ring-ref": "\x1b[2J\u202e\nforged"}
    done: Callable[[XenbusDevice], bool] = lambda device: bool(told(caplog))  # noqa: E731
    serve(tmp_path, Policy(DEFAULT), 0, nodes, done, lambda device: None)
    (line,) = told(caplog)
    assert r'0/0/ring-ref = "\x1b[2J\u202e' in line
    assert line.isprintable()
