"""attach and detach with both halves: the card that they give and take is a card in PipeWire."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.sound import eventually
from xenpvaudio.testbed.testbed import SINK, Testbed, card_nodes, find_node
from xenpvaudio.xen.connect import SIM_VARIABLE

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

ROOT = Path(__file__).resolve().parents[3]
SECOND = SINK.replace("0.0.0", "1.0.0")
assert SECOND != SINK


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed(card_nodes(), frontend_args=["--wait"], backend_args=["--wait"]) as made:
        made.wait_for_node()
        yield made


def command(bed: Testbed, *words: str) -> str:
    assert bed.host is not None
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", *words],
        env={**bed.host.env, SIM_VARIABLE: f"{bed.directory / 'xen'}:0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_card_comes_and_goes_beside_another(bed: Testbed) -> None:
    example = ROOT / "packaging" / "xl" / "desktop.cfg"
    said = command(bed, "attach", "demo-guest", str(example))
    assert said == "vsnd/1 of domain 1 (demo-guest) is connected, backend in domain 0\n"
    eventually(lambda: find_node(bed.guest, SECOND), "the card shows no sink")
    assert command(bed, "detach", "demo-guest", "1") == "vsnd/1 of domain 1 is gone\n"
    eventually(lambda: find_node(bed.guest, SECOND) is None, "its sink is still there")
    assert find_node(bed.guest, SINK) is not None
    assert bed.toolstack is not None
    assert bed.toolstack.store.list("/local/domain/1/device/vsnd") == ["0"]
    assert "Traceback" not in bed.log("frontend") + bed.log("backend")
