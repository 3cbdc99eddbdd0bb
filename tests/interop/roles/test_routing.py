"""Applications get the stream of the card that their role is for, by WirePlumber as it comes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.roles.car import (
    MEDIA,
    MICROPHONE,
    NAVIGATION,
    POLICY,
    TELEPHONE,
    application,
    car_nodes,
    linked,
    steady,
)
from interop.sound import eventually
from xenpvaudio.testbed.testbed import Testbed, find_node


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    policy = tmp_path_factory.mktemp("policy") / "backend.toml"
    policy.write_text(POLICY)
    with Testbed(car_nodes(), backend_args=["--policy", str(policy)]) as made:
        for name in (MEDIA, NAVIGATION, TELEPHONE, MICROPHONE):
            made.wait_for_node(name)
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return steady(tmp_path / "steady.wav", 0.1, 30)


@pytest.mark.parametrize(
    ("role", "sink", "stream", "host_role"),
    [
        ("Music", MEDIA, "0/0", "music"),
        ("Navigation", NAVIGATION, "1/0", "navi"),
        ("navi", NAVIGATION, "1/0", "navi"),
        ("Communication", TELEPHONE, "2/0", "phone"),
        ("phone", TELEPHONE, "2/0", "phone"),
        ("Game", MEDIA, "0/0", "music"),  # for which the card has no stream: the default
    ],
)
def test_a_role_goes_to_its_stream_and_carries_the_hosts_role_there(
    role: str, sink: str, stream: str, host_role: str, bed: Testbed, file: Path
) -> None:
    assert bed.host is not None
    host = bed.host
    with application(bed.guest, "app", role, file):
        eventually(lambda: linked(bed.guest, "app") == {sink}, f"{role} is not there")
        host_stream = eventually(
            lambda: find_node(host, f"xenpv.demo-guest.vsnd/0.{stream}"), "no stream on the host"
        )
    assert host_stream["media.role"] == host_role


def test_clients_of_pulseaudio_are_routed_too(bed: Testbed, file: Path) -> None:
    client = bed.guest.popen(
        ["paplay", "--property=media.role=phone", "--client-name=caller", str(file)],
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: linked(bed.guest, "caller") == {TELEPHONE}, "not to the telephone")
    finally:
        client.kill()
        client.wait()


def test_without_a_role_the_cards_first_stream_plays(bed: Testbed, file: Path) -> None:
    client = bed.guest.popen(
        ["paplay", "--client-name=nobody", str(file)], stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: linked(bed.guest, "nobody") == {MEDIA}, "not to the first stream")
    finally:
        client.kill()
        client.wait()
