"""A node that somebody destroys comes back by itself, in the guest and on the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.faults.test_faults import HOST_STREAM, playing, serial, wait_for_sound
from interop.sound import eventually
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import Testbed, card_nodes, find_node


@pytest.fixture
def bed() -> Iterator[Testbed]:
    with Testbed(card_nodes(), frontend_args=["--wait"], backend_args=["--wait"]) as made:
        made.wait_for_node()
        yield made


def destroy(session: PipeWireSession, name: str) -> None:
    node = find_node(session, name)
    assert node is not None
    session.run(["pw-cli", "destroy", str(node["object.id"])])


def test_a_destroyed_host_stream_is_made_again_and_the_player_never_notices(
    bed: Testbed, tmp_path: Path
) -> None:
    assert bed.host is not None
    with playing(bed.guest, tmp_path) as player:
        wait_for_sound(bed)
        destroy(bed.host, HOST_STREAM)
        eventually(lambda: "making a new one" in bed.log("backend"), "the loss was not noticed")
        wait_for_sound(bed)
        assert player.poll() is None


def test_a_destroyed_sink_is_made_again(bed: Testbed, tmp_path: Path) -> None:
    first = serial(bed)
    destroy(bed.guest, "xenpv_sink.0.0.0")
    eventually(lambda: serial(bed) not in (None, first), "no other sink came")
    with playing(bed.guest, tmp_path):
        wait_for_sound(bed)
    assert "making a new one" in bed.log("frontend")
