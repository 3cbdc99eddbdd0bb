"""The host mixes a guest's streams by their roles, with the configuration in packaging/wireplumber.

Music is a constant, so what the host's loudspeaker plays is the volume that the policy gives it;
what is played in the other roles is silence.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from faults.recovery import TRUE_FRAMES, settled_delay
from interop.roles.car import (
    CARD,
    MEDIA,
    NAVIGATION,
    POLICY,
    TELEPHONE,
    application,
    car_nodes,
    host_configuration,
    steady,
)
from interop.sound import RATE, eventually, run_client
from xenpvaudio.testbed.graph_dump import of_kind
from xenpvaudio.testbed.testbed import Testbed, graph

LEVEL = 0.25
MUSIC, PROMPTS = (f"xenpv.demo-guest.vsnd/0.{stream}" for stream in ("0/0", "1/0"))
DUCKED = 0.3  # "duck.level" and linking.role-based.duck-level in the shipped files


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    policy = tmp_path_factory.mktemp("policy") / "backend.toml"
    policy.write_text(POLICY)
    with Testbed(
        car_nodes(),
        backend_args=["--policy", str(policy)],
        host_fragments=[CARD],
        host_wireplumber_files=host_configuration(),
    ) as made:
        assert made.host is not None
        run_client(made.host, "pactl", "set-default-sink", "recording-loudspeaker")
        for name in (MEDIA, NAVIGATION, TELEPHONE):
            made.wait_for_node(name)
        yield made


@pytest.fixture
def music(tmp_path: Path) -> Path:
    return steady(tmp_path / "music.wav", LEVEL, 120)


@pytest.fixture
def silence(tmp_path: Path) -> Path:
    return steady(tmp_path / "silence.wav", 0.0, 120)


def level(bed: Testbed) -> float:
    """Of the last tenth of a second: 1 is the music's own."""
    speaker = bed.loudspeaker
    assert speaker is not None
    last = array("f", speaker.data(max(0, speaker.frames - RATE // 10)))
    return median(last) / LEVEL if last else 0.0


def wait_for_level(bed: Testbed, wanted: float, when: str) -> None:
    heard = [0.0]

    def is_there() -> bool:
        heard.append(level(bed))
        return abs(heard[-1] - wanted) < 0.02

    try:
        eventually(is_there, when)
    except AssertionError:
        raise AssertionError(f"{when}: {heard[-1]:.3f} instead of {wanted}") from None


def test_navigation_makes_music_quieter_and_gives_it_back(
    bed: Testbed, music: Path, silence: Path
) -> None:
    with application(bed.guest, "music", "Music", music) as player:
        wait_for_level(bed, 1.0, "music alone")
        with application(bed.guest, "guide", "Navigation", silence):
            wait_for_level(bed, DUCKED, "while navigation speaks")
        wait_for_level(bed, 1.0, "after navigation")
        assert player.poll() is None


def test_a_prompts_stream_leaves_the_host_before_a_device_would_rest(
    bed: Testbed, music: Path, silence: Path
) -> None:
    """For so long music is kept down. The card's first stream rests as late as any device, and that
    tells how soon this is."""
    with (
        application(bed.guest, "guide", "Navigation", silence),
        application(bed.guest, "music", "Music", music),  # the first to end
    ):
        eventually(lambda: on_host(bed) == {MUSIC, PROMPTS}, "two streams")
    eventually(lambda: on_host(bed) == {MUSIC}, "it stays as long as a device")


def on_host(bed: Testbed) -> set[str]:
    """The guest's streams in the host's graph."""
    assert bed.host is not None
    found = of_kind(graph(bed.host), "Node")
    return {str(node["info"]["props"]["node.name"]) for node in found} & {MUSIC, PROMPTS}


def test_a_call_pauses_music_which_then_goes_on(bed: Testbed, music: Path, silence: Path) -> None:
    with application(bed.guest, "music", "Music", music) as player:
        wait_for_level(bed, 1.0, "music alone")
        with application(bed.guest, "call", "Communication", silence):
            wait_for_level(bed, 0.0, "during the call")
        wait_for_level(bed, 1.0, "after the call")
        assert player.poll() is None
    assert "Traceback" not in bed.log("frontend") + bed.log("backend")


def test_the_delay_that_is_told_behind_a_role_is_true(bed: Testbed) -> None:
    assert bed.loudspeaker is not None
    found = settled_delay(bed, bed.loudspeaker)
    assert found is not None, "no delay could be measured"
    told, true = found
    assert abs(told - true) <= TRUE_FRAMES, f"{told:.0f} frames are told, {true:.0f} are true"
