"""query in a guest whose frontend runs, without one, and on the host."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from xenpvaudio.control.query import choices
from xenpvaudio.sound.wav import write_wav
from xenpvaudio.testbed.testbed import GUEST_DOMID, SINK, Testbed, card_nodes

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

NODES = {**card_nodes(), "sample-rates": "44100,48000", "0/0/channels-max": "1"}


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed(NODES) as bed:
        bed.wait_for_node()
        yield bed


def query(env: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", "query", *arguments],
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def streams(env: Mapping[str, str]) -> list[dict[str, Any]]:
    status, out = query(env, "--json")
    assert status == 0
    (card,) = json.loads(out)
    assert card["name"] == "Xen PV Audio"
    found: list[dict[str, Any]] = card["streams"]
    return found


def test_a_guest_hears_what_is_configured_and_what_came_of_it(bed: Testbed) -> None:
    playback, capture = streams(bed.environ(GUEST_DOMID))
    assert (playback["kind"], capture["kind"]) == ("playback", "capture")
    assert playback["configured"]["rates"] == ["44100", "48000"]
    assert playback["configured"]["channels"] == ["1"]
    assert playback["node"] == SINK
    assert playback["negotiated"]["channels"] == ["1"]
    assert "48000" in playback["negotiated"]["rates"]
    assert "S16LE" in playback["negotiated"]["formats"]
    assert capture["negotiated"]["channels"] != ["1"]


def test_an_open_stream_says_with_what(bed: Testbed, tmp_path: Path) -> None:
    write_wav(file := tmp_path / "mono.wav", 48000, 1, "s16", bytes(2 * 48000 * 40))
    with bed.guest.popen(["pw-play", "--target", SINK, str(file)]) as player:
        end = time.monotonic() + 20
        while not (now := streams(bed.environ(GUEST_DOMID))[0]["now"]):
            assert time.monotonic() < end, "never open"
            time.sleep(0.1)
        status, out = query(bed.environ(GUEST_DOMID))
        player.kill()
    assert now["channels"] == "1"
    assert int(now["buffer_frames"]) >= int(now["period_frames"]) > 0
    assert status == 0
    assert f"1 channels, period {now['period_frames']}, buffer {now['buffer_frames']} frames" in out


def test_without_a_pipewire_what_is_configured_is_told(bed: Testbed, tmp_path: Any) -> None:
    env = bed.environ(GUEST_DOMID) | {"XDG_RUNTIME_DIR": str(tmp_path)}
    playback, _ = streams(env)
    assert playback["configured"]["formats"]
    assert playback["negotiated"] == {}


def test_a_host_lists_its_guests_cards(bed: Testbed) -> None:
    status, out = query(bed.environ(0))
    assert status == 0
    assert out.startswith("/local/domain/1/device/vsnd/0  Xen PV Audio\n")
    assert "    configured  " in out


def test_a_card_that_cannot_be_read_is_status_1_and_names_the_node(bed: Testbed) -> None:
    assert bed.toolstack is not None
    bed.toolstack.create_domain(7, "odd")
    bed.toolstack.attach_vsnd(7, 0, {**card_nodes(), "channels-max": "many"})
    status, out = query(bed.guest.env | bed.machine(7))
    bed.toolstack.destroy_domain(7)
    assert status == 1
    assert 'device/vsnd/0/channels-max = "many"' in out


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (2, ["2"]),
        ({"default": 48000, "alt1": 48000, "alt2": 44100}, ["48000", "44100"]),
        ({"default": 2, "min": 1, "max": 8}, ["1..8"]),
    ],
)
def test_choices_are_listed_once(value: Any, found: list[str]) -> None:
    assert choices(value) == found
