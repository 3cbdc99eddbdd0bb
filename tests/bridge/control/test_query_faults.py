"""query of a host with one guest's card that cannot be read: all others are told."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenpvaudio.control.machine import Machine
from xenpvaudio.control.query import run_query
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

DRIVER = 9
GUESTS = (1, 2, 3)


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Toolstack]:
    directory = str(tmp_path / "xen")
    with start_hypervisor(directory), Toolstack(directory) as tools:
        tools.create_domain(DRIVER, "driver")
        for domid in GUESTS:
            tools.create_domain(domid, f"guest{domid}")
            tools.attach_vsnd(domid, 0, card_nodes(), DRIVER)
        yield tools


def told(tools: Toolstack, **how: bool) -> tuple[int, str]:
    out = io.StringIO()
    machine = Machine(Path("/"), {SIM_VARIABLE: f"{tools.directory}:{DRIVER}"})
    return run_query(machine=machine, out=out, **how), out.getvalue()


@pytest.mark.parametrize("hidden", ["", "/0/0/type"])
def test_a_guest_that_hides_its_nodes_hides_no_others(tools: Toolstack, hidden: str) -> None:
    tools.store.set_perms(f"/local/domain/2/device/vsnd/0{hidden}", ["n2"])
    status, out = told(tools, as_json=True)
    cards = json.loads(out)
    assert status == 1
    assert [bool(card["error"]) for card in cards] == [False, True, False]
    assert [len(card["streams"]) for card in cards] == [2, 0, 2]
    status, out = told(tools)
    assert status == 1 and out.count("playback") == 2


def test_a_card_that_is_on_its_way_out_is_none(tools: Toolstack) -> None:
    tools.store.remove(f"/local/domain/{DRIVER}/backend/vsnd/2/0/frontend")
    status, out = told(tools)
    assert status == 0 and out.count("playback") == 2
