"""doctor finds each fault of a card in XenStore, from the guest's side and from the host's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from xenpvaudio.control.doctor import examine
from xenpvaudio.control.finding import Finding, Level
from xenpvaudio.control.machine import Machine
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

GUEST = 1
FRONT = f"/local/domain/{GUEST}/device/vsnd/0"
BACK = f"/local/domain/0/backend/vsnd/{GUEST}/0"


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Toolstack]:
    directory = str(tmp_path / "xen")
    with start_hypervisor(directory), Toolstack(directory) as tools:
        tools.create_domain(GUEST, "work")
        yield tools


def look(tools: Toolstack, domid: int) -> list[Finding]:
    machine = Machine(Path("/"), {SIM_VARIABLE: f"{tools.directory}:{domid}"})
    found = examine(machine, "backend" if domid == 0 else "frontend")
    return [f for f in found if f.check in ("xenstore", "card", "backend", "frontend")]


def wrong(tools: Toolstack, domid: int) -> Finding:
    (fault,) = (found for found in look(tools, domid) if found.level is Level.WRONG)
    return fault


def states(tools: Toolstack, front: str, back: str) -> None:
    tools.store.write(f"{FRONT}/state", front)
    tools.store.write(f"{BACK}/state", back)


def test_a_connected_card_is_well_from_both_sides(tools: Toolstack) -> None:
    tools.attach_vsnd(GUEST, 0, card_nodes())
    states(tools, "4", "4")
    for domid in (0, GUEST):
        found = look(tools, domid)
        assert {finding.level for finding in found} == {Level.OK}
        assert any("with 2 streams" in finding.text for finding in found)


def test_a_guest_without_a_card_hears_how_it_gets_one(tools: Toolstack) -> None:
    fault = wrong(tools, GUEST)
    assert "no vsnd card" in fault.text
    assert "xl vsnd-attach" in fault.mend
    assert {finding.level for finding in look(tools, 0)} == {Level.OK}


def test_a_card_that_nobody_serves_names_the_domain_that_should(tools: Toolstack) -> None:
    tools.attach_vsnd(GUEST, 0, card_nodes())
    fault = wrong(tools, GUEST)
    assert "no backend has taken" in fault.text
    assert fault.mend == "in domain 0: systemctl --user start xen-pv-audio-backend"
    assert wrong(tools, 0).mend == "systemctl --user start xen-pv-audio-backend"


def test_a_card_that_no_frontend_has_taken_says_so(tools: Toolstack) -> None:
    tools.attach_vsnd(GUEST, 0, card_nodes())
    states(tools, "1", "2")
    assert "systemctl --user start xen-pv-audio-frontend" in wrong(tools, GUEST).mend
    assert wrong(tools, 0).mend.startswith("in the guest: ")


@pytest.mark.parametrize(
    ("node", "value", "mend"),
    [
        ("0/1/sample-rates", "96000", "a lower level must be a subset of the upper one"),
        ("0/0/type", "x", "correct that node in the guest's xl.cfg"),
        ("sample-formats", "s17_le", "use names of xen/io/sndif.h such as s16_le"),
        ("channels-max", "many", "correct that node in the guest's xl.cfg"),
    ],
)
def test_a_bad_node_is_named(tools: Toolstack, node: str, value: str, mend: str) -> None:
    tools.attach_vsnd(GUEST, 0, {**card_nodes(), "sample-rates": "48000,44100"})
    states(tools, "4", "4")
    tools.store.write(f"{FRONT}/{node}", value)
    for domid in (GUEST, 0):
        fault = wrong(tools, domid)
        assert f'device/vsnd/0/{node} = "{value}"' in fault.text
        assert mend in fault.mend


def test_a_card_without_streams_says_what_to_add(tools: Toolstack) -> None:
    nodes = {key: text for key, text in card_nodes().items() if not key.startswith("0/")}
    tools.attach_vsnd(GUEST, 0, nodes)
    states(tools, "4", "4")
    assert "has no PCM device" in wrong(tools, GUEST).text
    assert wrong(tools, GUEST).mend == "set device/vsnd/0/0/0/type"


def test_a_backend_that_is_no_domain_is_named(tools: Toolstack) -> None:
    tools.attach_vsnd(GUEST, 0, card_nodes())
    tools.store.write(f"{FRONT}/backend-id", "dom0")
    fault = wrong(tools, GUEST)
    assert 'backend-id = "dom0"' in fault.text
    assert "attach it anew: xl vsnd-attach" in fault.mend


def test_a_card_whose_other_half_was_taken_away_is_to_be_attached_anew(tools: Toolstack) -> None:
    tools.attach_vsnd(GUEST, 0, card_nodes())
    tools.store.remove(BACK)
    fault = wrong(tools, GUEST)
    assert "not there" in fault.text
    assert "xl vsnd-attach" in fault.mend


def test_no_xenstore_is_one_finding(tmp_path: Path) -> None:
    machine = Machine(Path("/"), {SIM_VARIABLE: f"{tmp_path}/nothing:1"})
    found = [f for f in examine(machine, "frontend") if f.check == "xenstore"]
    assert [finding.level for finding in found] == [Level.WRONG]
    assert found[0].mend
