"""The card as a guest's user sees it: one device with profiles, ports and volume, which the session
manager remembers; told by PulseAudio's API, wpctl and PipeWire's own tools."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulsectl
import pytest

from interop.sound import (
    RATE,
    at_volume,
    eventually,
    noise,
    play_and_hear,
    run_client,
    write_noise,
)
from xenpvaudio.testbed.graph_dump import named_node, of_kind
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes, graph

CARD = "xenpv_card.0"
TITLE = "Xen PV Audio"
DUPLEX = "output:playback+input:capture"
FRAMES = RATE * 3 // 4
MODULE = re.compile(
    r"\{ name = libpipewire-module-client-device\s+(condition = \[ \{[^}]*\} \]\s+)?\}"
)


@pytest.fixture
def bed() -> Iterator[Testbed]:
    with Testbed(card_nodes(formats=["float_le"]), frontend_args=["--wait"]) as made:
        wait_for_both(made)
        yield made


def wait_for_both(bed: Testbed) -> None:
    bed.wait_for_node(SINK)
    bed.wait_for_node(SOURCE)


@pytest.fixture
def held(bed: Testbed, tmp_path: Path) -> None:
    """Somebody plays silence, so the sink has a format."""
    hold(bed, tmp_path)


def hold(bed: Testbed, path: Path, channels: int = 2) -> None:
    silence = array("f", bytes(4 * channels * RATE * 60))
    file = write_noise(path / "silence.wav", silence, channels)
    bed.guest.popen(["pw-play", "--target", SINK, str(file)])  # ends with the session
    eventually(lambda: (bed.node() or {}).get("xenpv.state") == "running", "nobody plays")


@pytest.fixture
def pulse(bed: Testbed) -> Iterator[pulsectl.Pulse]:
    with pulsectl.Pulse("test", server=bed.guest.env["PULSE_SERVER"]) as made:
        yield made


def card(pulse: pulsectl.Pulse) -> Any:
    return pulse.get_card_by_name(CARD)


def sink(pulse: pulsectl.Pulse) -> Any:
    return pulse.get_sink_by_name(SINK)


def nodes(bed: Testbed) -> set[str]:
    """Which of ours exist."""
    names = {
        (item.get("info") or {}).get("props", {}).get("node.name") for item in graph(bed.guest)
    }
    return names & {SINK, SOURCE}


def route_volume(bed: Testbed) -> tuple[list[float], bool]:
    """As node_volume(), of the speaker as the card has it."""
    for item in of_kind(graph(bed.guest), "Device"):
        for route in item["info"]["params"].get("Route", ()):
            if route["index"] == 0:
                return route["props"]["channelVolumes"], route["props"]["mute"]
    return [], False


def node_volume(bed: Testbed) -> tuple[list[float], bool]:
    """Linear, and whether it is muted, as the converter that makes the samples has it. Since
    PipeWire 1.4 it tells of changes only while there is a format."""
    node = named_node(graph(bed.guest), SINK)
    for props in [] if node is None else node["info"]["params"].get("Props", ()):
        if "channelVolumes" in props:
            return props["channelVolumes"], props["mute"]
    return [], False


def stored(bed: Testbed, file: str, *texts: str) -> bool:
    """Whether the session manager has written all that down."""
    path = Path(bed.guest.env["XDG_STATE_HOME"]) / "wireplumber" / file
    written = path.read_text() if path.exists() else ""
    return all(text in written for text in texts)


def restart_frontend(bed: Testbed) -> None:
    assert bed.frontend is not None
    bed.frontend.terminate()
    bed.frontend.wait()
    eventually(lambda: not nodes(bed), "nodes outlive their frontend")
    bed.start_frontend()


def device_id(bed: Testbed) -> str:
    return str((bed.node() or {})["device.id"])


# -- what it looks like


def test_both_nodes_belong_to_one_card_with_profiles_and_ports(
    bed: Testbed, pulse: pulsectl.Pulse
) -> None:
    (found,) = pulse.card_list()
    said = found.proplist
    assert found.name == CARD
    assert said["device.description"] == TITLE
    assert (said["device.class"], said["media.class"]) == ("sound", "Audio/Device")
    assert said["device.icon_name"] == "audio-card" and said["device.form_factor"] == "internal"
    assert said["device.nick"] and said["device.api"] and said["device.bus"] == "xen"
    counts = {item.name: (item.n_sinks, item.n_sources) for item in found.profile_list}
    assert counts == {
        "off": (0, 0),
        "output:playback": (1, 0),
        "input:capture": (0, 1),
        DUPLEX: (1, 1),
    }
    assert found.profile_active.name == DUPLEX
    best = max(found.profile_list, key=lambda item: item.priority)
    assert best.name == DUPLEX
    ports = {port.name: port.description for port in found.port_list}
    assert ports == {"speaker": "Speaker", "microphone": "Microphone"}
    assert all(port.available_state == "yes" for port in found.port_list)
    for node, port in ((sink(pulse), "speaker"), (pulse.get_source_by_name(SOURCE), "microphone")):
        assert node.description == TITLE
        assert node.card == found.index
        assert node.port_active.name == port
    assert re.search(rf"Devices:\n.*{TITLE} +\[xenpv\]", run_client(bed.guest, "wpctl", "status"))


def test_a_card_without_a_microphone_has_no_profile_for_one() -> None:
    with Testbed(card_nodes(capture=False)) as made:
        made.wait_for_node()
        with pulsectl.Pulse("test", server=made.guest.env["PULSE_SERVER"]) as pulse:
            assert [item.name for item in card(pulse).profile_list] == ["off", "output:playback"]
            assert card(pulse).profile_active.name == "output:playback"


def test_devices_of_one_card_are_told_apart_by_their_names() -> None:
    several = card_nodes() | {
        "0/name": "Cabin",
        "1/name": "Phone",
        "1/0/type": "p",
        "1/0/unique-id": "phone",
    }
    with Testbed(several) as made:
        made.wait_for_node("xenpv_sink.0.1.0")
        wait_for_both(made)
        with pulsectl.Pulse("test", server=made.guest.env["PULSE_SERVER"]) as pulse:
            (found,) = pulse.card_list()
            assert {item.name: item.description for item in found.port_list} == {
                "speaker-0.0": "Speaker (Cabin)",
                "speaker-1.0": "Speaker (Phone)",
                "microphone": "Microphone (Cabin)",
            }
            titles = {item.name: item.description for item in pulse.sink_list()}
            assert titles[SINK] == f"{TITLE}: Cabin"
            assert titles["xenpv_sink.0.1.0"] == f"{TITLE}: Phone"
            phone = pulse.get_sink_by_name("xenpv_sink.0.1.0")
            assert [port.name for port in phone.port_list] == ["speaker-1.0"]


# -- profiles


def test_a_profile_says_which_nodes_exist(bed: Testbed, pulse: pulsectl.Pulse) -> None:
    for profile, there in (
        ("output:playback", {SINK}),
        ("input:capture", {SOURCE}),
        ("off", set()),
        (DUPLEX, {SINK, SOURCE}),
    ):
        run_client(bed.guest, "pactl", "set-card-profile", CARD, profile)
        eventually(lambda there=there: nodes(bed) == there, f"{profile}: not these nodes")
        assert card(pulse).profile_active.name == profile


def test_off_closes_the_stream_and_on_plays_again(
    bed: Testbed, pulse: pulsectl.Pulse, tmp_path: Path
) -> None:
    idle = len(bed.hypervisor.report())
    samples = noise(FRAMES, 2)
    file = write_noise(tmp_path / "a.wav", samples, 2)
    play_and_hear(bed, file, samples, 2)
    assert len(bed.hypervisor.report()) > idle
    pulse.card_profile_set(card(pulse), "off")
    eventually(lambda: not nodes(bed), "nodes are still there")
    eventually(lambda: len(bed.hypervisor.report()) == idle, "the stream is still open")
    pulse.card_profile_set(card(pulse), DUPLEX)
    wait_for_both(bed)
    play_and_hear(bed, file, samples, 2)


def test_the_chosen_profile_survives_a_restart(bed: Testbed, pulse: pulsectl.Pulse) -> None:
    pulse.card_profile_set(card(pulse), "output:playback")
    eventually(lambda: stored(bed, "default-profile", "output:playback"), "it is not remembered")
    restart_frontend(bed)
    bed.wait_for_node(SINK)
    eventually(lambda: nodes(bed) == {SINK}, "the source came back")
    assert card(pulse).profile_active.name == "output:playback"


# -- volume


@pytest.mark.usefixtures("held")
def test_the_cards_volume_is_that_of_the_samples(
    bed: Testbed, pulse: pulsectl.Pulse, tmp_path: Path
) -> None:
    """PulseAudio's 50 % are an eighth of the amplitude."""
    samples = noise(FRAMES, 2)
    file = write_noise(tmp_path / "a.wav", samples, 2)
    play_and_hear(bed, file, samples, 2)
    pulse.volume_set_all_chans(sink(pulse), 0.5)
    eventually(lambda: node_volume(bed) == ([0.125, 0.125], False), "it did not reach the node")
    play_and_hear(bed, file, at_volume(samples, 0.125), 2)
    assert sink(pulse).volume.values == [0.5, 0.5]
    pulse.volume_set_all_chans(sink(pulse), 1.0)
    eventually(lambda: node_volume(bed) == ([1.0, 1.0], False), "it did not reach the node")
    play_and_hear(bed, file, samples, 2)


@pytest.mark.usefixtures("held")
def test_each_channel_and_mute_reach_the_node(bed: Testbed, pulse: pulsectl.Pulse) -> None:
    run_client(bed.guest, "pactl", "set-sink-volume", SINK, "100%", "50%")
    eventually(lambda: node_volume(bed) == ([1.0, 0.125], False), "not each channel its own")
    run_client(bed.guest, "pactl", "set-sink-mute", SINK, "1")
    eventually(lambda: node_volume(bed) == ([1.0, 0.125], True), "it is not muted")
    assert sink(pulse).mute == 1
    run_client(bed.guest, "wpctl", "set-mute", str((bed.node() or {})["object.id"]), "0")
    eventually(lambda: node_volume(bed) == ([1.0, 0.125], False), "it is still muted")


@pytest.mark.usefixtures("held")
def test_wpctl_sets_the_volume_that_pulseaudio_reads(bed: Testbed, pulse: pulsectl.Pulse) -> None:
    run_client(bed.guest, "wpctl", "set-volume", str((bed.node() or {})["object.id"]), "0.5")
    eventually(lambda: sink(pulse).volume.values == [0.5, 0.5], "they do not agree")
    eventually(lambda: node_volume(bed)[0] == [0.125, 0.125], "it did not reach the node")


def test_the_volume_survives_profiles_and_restarts(
    bed: Testbed, pulse: pulsectl.Pulse, tmp_path: Path
) -> None:
    samples = noise(FRAMES, 2)
    file = write_noise(tmp_path / "a.wav", samples, 2)
    quiet = at_volume(samples, 0.125)
    pulse.volume_set_all_chans(sink(pulse), 0.5)
    pulse.card_profile_set(card(pulse), "off")
    eventually(lambda: not nodes(bed), "nodes are still there")
    pulse.card_profile_set(card(pulse), DUPLEX)
    wait_for_both(bed)
    assert sink(pulse).volume.values == [0.5, 0.5]
    play_and_hear(bed, file, quiet, 2)
    key = f"{CARD}:output:speaker"
    eventually(lambda: stored(bed, "default-routes", key, "0.125"), "it is not remembered")
    restart_frontend(bed)
    bed.wait_for_node()
    eventually(lambda: sink(pulse).volume.values == [0.5, 0.5], "it is louder after a restart")
    play_and_hear(bed, file, quiet, 2)


def test_volume_of_a_surround_card_has_all_its_channels(tmp_path: Path) -> None:
    nodes = card_nodes(channels_min=6, channels_max=6, capture=False)
    with Testbed(nodes, channels=6) as made:
        made.wait_for_node()
        hold(made, tmp_path, 6)
        with pulsectl.Pulse("test", server=made.guest.env["PULSE_SERVER"]) as pulse:
            wanted = [1.0, 1.0, 0.5, 0.5, 1.0, 0.5]
            pulse.volume_set(sink(pulse), pulsectl.PulseVolumeInfo(wanted))
            linear = [volume**3 for volume in wanted]
            eventually(lambda: node_volume(made)[0] == linear, "not each channel its own")
            assert sink(pulse).volume.values == wanted


def set_route(bed: Testbed, text: str) -> None:
    command = ["pw-cli", "set-param", device_id(bed), "Route", text]
    bed.guest.run(command, check=False, capture_output=True)


@pytest.mark.parametrize(
    ("asked", "becomes"),
    [("[ 1e30, 0.5 ]", [10.0, 0.5]), ("[ -3.0, 0.5 ]", [0.0, 0.5]), ("[ 0.5, 0.25, 9.0 ]", None)],
)
def test_whatever_a_client_sets_is_bounded(
    asked: str, becomes: list[float] | None, bed: Testbed
) -> None:
    set_route(bed, f"{{ index: 0, device: 0, props: {{ channelVolumes: {asked} }} }}")
    expected = (becomes or [0.5, 0.25], False)
    eventually(lambda: route_volume(bed) == expected, "another volume")


@pytest.mark.parametrize(
    "place", ["index: 7, device: 7", "index: -1, device: -1", "index: 0, device: 1"]
)
def test_a_route_that_is_not_there_changes_nothing(place: str, bed: Testbed) -> None:
    set_route(bed, f"{{ {place}, props: {{ channelVolumes: [ 0.25, 0.25 ] }} }}")
    set_route(bed, "{ index: 0, device: 0, props: { mute: true } }")
    eventually(lambda: route_volume(bed) == ([1.0, 1.0], True), "not muted only")
    bed.check()


# -- latency


def told_nsec(bed: Testbed) -> int:
    """What a port of the sink tells of what comes in there."""
    things = graph(bed.guest)
    node = named_node(things, SINK)
    for port in of_kind(things, "Port"):
        info = port["info"]
        if node and info["props"]["node.id"] == node["id"] and info["direction"] == "input":
            for told in info["params"].get("Latency", ()):
                if told["direction"] == "Input":
                    return int(told["minNs"])
    return 0


@pytest.mark.usefixtures("held")
def test_a_latency_offset_is_added_to_what_is_published(bed: Testbed) -> None:
    """The lead moves by some milliseconds meanwhile."""
    before = eventually(lambda: told_nsec(bed), "no latency")
    run_client(bed.guest, "pactl", "set-port-latency-offset", CARD, "speaker", "200000")
    eventually(lambda: told_nsec(bed) > before + 170_000_000, "it is not added")
    assert told_nsec(bed) < before + 230_000_000
    assert "latency offset: 200000 usec" in run_client(bed.guest, "pactl", "list", "cards")
    run_client(bed.guest, "pactl", "set-port-latency-offset", CARD, "speaker", "-3000000")
    eventually(lambda: told_nsec(bed) == 1, "what is told is not at least nothing")


# -- its life


def test_a_destroyed_card_comes_back_with_its_nodes_and_volume(
    bed: Testbed, pulse: pulsectl.Pulse, tmp_path: Path
) -> None:
    samples = noise(FRAMES, 2)
    pulse.volume_set_all_chans(sink(pulse), 0.5)
    first = card(pulse).index
    run_client(bed.guest, "pw-cli", "destroy", device_id(bed))
    eventually(lambda: [c for c in pulse.card_list() if c.index != first], "no other card came")
    wait_for_both(bed)
    assert sink(pulse).card == card(pulse).index
    eventually(lambda: sink(pulse).volume.values == [0.5, 0.5], "the volume is lost")
    file = write_noise(tmp_path / "a.wav", samples, 2)
    play_and_hear(bed, file, at_volume(samples, 0.125), 2)
    assert "making a new one" in bed.log("frontend")


def test_without_pipewires_module_for_devices_the_nodes_are_there_alone(
    bed: Testbed, pulse: pulsectl.Pulse, tmp_path: Path
) -> None:
    """A client's configuration that somebody wrote may lack it."""
    folder = Path(bed.guest.env["XDG_CONFIG_HOME"]) / "pipewire"
    for name in ("client.conf", "client-rt.conf"):
        system = Path("/usr/share/pipewire") / name
        if system.exists():
            text = system.read_text()
            assert MODULE.search(text)
            (folder / name).write_text(MODULE.sub("", text))
    restart_frontend(bed)
    wait_for_both(bed)
    assert pulse.card_list() == []
    assert "without a card" in bed.log("frontend")
    samples = noise(FRAMES, 2)
    play_and_hear(bed, write_noise(tmp_path / "a.wav", samples, 2), samples, 2)
