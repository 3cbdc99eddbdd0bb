"""doctor beside real PipeWires: one in which all is well, and others in which one thing is not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from xenpvaudio.control import graph_checks
from xenpvaudio.control.finding import Finding, Level
from xenpvaudio.control.machine import Machine
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import GUEST_DOMID, Testbed, card_nodes

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed(card_nodes()) as bed:
        bed.wait_for_node()
        yield bed


def doctor(env: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", "doctor", *arguments],
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_nothing_is_wrong_in_a_guest_that_works(bed: Testbed) -> None:
    status, out = doctor(bed.environ(GUEST_DOMID))
    assert (status, "WRONG" in out) == (0, False), out
    assert "xenpv_sink" in out
    assert "Connected" in out


def test_nothing_is_wrong_on_a_host_that_works(bed: Testbed) -> None:
    status, out = doctor(bed.environ(0), "--json")
    found = json.loads(out)
    assert status == 0, out
    assert {finding["level"] for finding in found} == {"ok"}
    assert {"hypervisor", "xenstore", "backend", "pipewire"} <= {f["check"] for f in found}


def test_a_frontend_that_is_gone_is_missed(bed: Testbed) -> None:
    """Beside the same card, in a PipeWire that has no device of ours."""
    assert bed.host is not None
    status, out = doctor({**bed.environ(GUEST_DOMID), **bed.host.env})
    assert status == 1
    assert "there is no device Xen PV Audio in PipeWire" in out
    assert "-> systemctl --user restart xen-pv-audio-frontend" in out


def test_no_pipewire_is_one_finding_with_its_command(bed: Testbed, tmp_path: Path) -> None:
    env = bed.environ(GUEST_DOMID) | {"XDG_RUNTIME_DIR": str(tmp_path)}
    env.pop("PIPEWIRE_RUNTIME_DIR", None)
    env.pop("PIPEWIRE_REMOTE", None)
    status, out = doctor(env)
    assert status == 1
    assert "no PipeWire answers" in out
    assert "-> systemctl --user start pipewire" in out


def test_a_runtime_directory_that_is_not_there_is_named(bed: Testbed, tmp_path: Path) -> None:
    """It is another user's after su, or this one's who has no session."""
    gone = str(tmp_path / "gone")
    env = bed.environ(GUEST_DOMID) | {"XDG_RUNTIME_DIR": gone}
    env.pop("PIPEWIRE_RUNTIME_DIR", None)
    env.pop("PIPEWIRE_REMOTE", None)
    status, out = doctor(env)
    assert status == 1
    assert f"XDG_RUNTIME_DIR is {gone}, which is not there" in out
    assert "export XDG_RUNTIME_DIR=/run/user/$(id -u)" in out


def graph(session: PipeWireSession) -> tuple[Machine, list[dict[str, Any]]]:
    machine = Machine(environ=session.env)
    objects = graph_checks.read_graph(machine)
    assert not isinstance(objects, Finding)
    return machine, objects


def test_missing_parts_of_a_session_are_found(tmp_path: Path) -> None:
    """No session manager, nothing for PulseAudio, and a virtual machine's quantum."""
    session = PipeWireSession(
        tmp_path, wireplumber=False, pulse=False, quantum=1024, min_quantum=1024
    )
    with session:
        machine, objects = graph(session)
    manager = graph_checks.session_manager(objects)
    assert (manager.level, "start wireplumber" in manager.mend) == (Level.WRONG, True)
    pulse = graph_checks.pulse(machine)
    assert (pulse.level, "pipewire-pulse" in pulse.mend) == (Level.WRONG, True)
    quantum = graph_checks.quantum_rule(objects)
    assert (quantum.level, "50-xen-pv-audio.conf" in quantum.mend) == (Level.WRONG, True)
    assert "1024 frames" in quantum.text
    assert graph_checks.daemon(objects).level is Level.OK


def test_a_pipewire_that_is_too_old_and_a_delay_that_cannot_be_are_found(bed: Testbed) -> None:
    _, objects = graph(bed.guest)
    for thing in objects:
        if thing["type"] == "PipeWire:Interface:Core":
            thing["info"]["version"] = "0.3.48"
        if "xenpv_" in str((thing.get("info") or {}).get("props", {}).get("node.name")):
            thing["info"]["props"]["xenpv.delay-ms"] = "-4.0"
    assert graph_checks.daemon(objects).level is Level.WRONG
    assert {f.level for f in graph_checks.own_nodes(objects, 2)} == {Level.WRONG}
    assert "3 streams" in next(iter(graph_checks.own_nodes(objects, 3))).text


@pytest.mark.parametrize(
    ("text", "numbers"), [("0.3.65", (0, 3, 65)), ("1.4.2-rc1", (1, 4, 2)), ("git", ())]
)
def test_versions_are_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert graph_checks.parse_version(text) == numbers
