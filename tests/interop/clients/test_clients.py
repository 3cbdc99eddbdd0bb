"""The programs that people use see the sink, choose it and play through it: the real ones."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL

import pulsectl
import pytest

from interop.sound import (
    RATE,
    eventually,
    heard,
    noise,
    run_client,
    until_whole,
    write_noise,
)
from xenpvaudio.sound.compare import Comparison
from xenpvaudio.testbed.graph_dump import named_node
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes, graph

FRAMES = RATE
LIVE = ("xenpv.delay-ms", "xenpv.host-delay-ms", "xenpv.clock-ppm", "xenpv.xruns")
TITLE = "Xen PV Audio"
OTHER = "{ factory.name=support.null-audio-sink node.name=other media.class=Audio/Sink }"


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed(card_nodes(formats=["s16_le"])) as made:
        made.wait_for_node(SINK)
        made.wait_for_node(SOURCE)
        # a second sink, so that choosing one means something
        keeper = made.guest.popen(["pw-cli", "-m", "create-node", "adapter", OTHER], stdout=DEVNULL)
        made.wait_for_node("other")
        yield made
        keeper.kill()


@pytest.fixture
def playing(bed: Testbed, tmp_path: Path) -> Iterator[None]:
    file = write_noise(tmp_path / "long.wav", noise(20 * RATE, 2), 2)
    player = bed.guest.popen(["pw-play", "--target", SINK, str(file)])
    eventually(lambda: (bed.node() or {}).get("xenpv.state") == "running", "nothing plays")
    yield
    player.kill()
    player.wait()


def output(session: PipeWireSession, *command: str) -> str:
    return run_client(session, *command)


def default_sink(session: PipeWireSession) -> str:
    found = re.search(r"Default Sink: (\S+)", output(session, "pactl", "info"))
    return found[1] if found else ""


def node_id(session: PipeWireSession, name: str) -> str:
    node = named_node(graph(session), name)
    assert node is not None, f"no node {name}"
    return str(node["id"])


# -- seen


@pytest.mark.usefixtures("playing")
@pytest.mark.parametrize(
    "command",
    [("wpctl", "status"), ("pactl", "list", "sinks"), ("pw-cli", "ls", "Node")],
    ids=lambda command: command[0],
)
def test_lists_show_the_sink_while_it_plays(command: tuple[str, ...], bed: Testbed) -> None:
    assert TITLE in output(bed.guest, *command)


@pytest.mark.usefixtures("playing")
def test_pactl_shows_the_sink_running_with_its_name_and_format(bed: Testbed) -> None:
    sinks = output(bed.guest, "pactl", "list", "short", "sinks").splitlines()
    (ours,) = [line.split("\t") for line in sinks if SINK in line]
    assert ours[3:] == ["s16le 2ch 48000Hz", "RUNNING"]
    assert "xenpv_source.0.0.1" in output(bed.guest, "pactl", "list", "short", "sources")


@pytest.mark.usefixtures("playing")
def test_pw_cli_shows_what_the_stream_is_and_does(bed: Testbed) -> None:
    shown = output(bed.guest, "pw-cli", "info", node_id(bed.guest, SINK))
    properties = dict(re.findall(r'(xenpv\.[\w.-]+) = "([^"]*)"', shown))
    expected = {
        "xenpv.backend-domain": "0",
        "xenpv.unique-id": "playback",
        "xenpv.format": "s16_le",
        "xenpv.rate": "48000",
        "xenpv.channels": "2",
    }
    assert {key: properties.get(key) for key in expected} == expected
    assert int(properties["xenpv.period-frames"]) > 0
    eventually(lambda: float((bed.node() or {})["xenpv.delay-ms"]) > 0, "no delay is shown")
    live = bed.node() or {}
    assert float(live["xenpv.delay-ms"]) >= float(live["xenpv.lead-ms"]) > 0
    assert abs(float(live["xenpv.clock-ppm"])) < 5000
    assert int(live["xenpv.xruns"]) >= 0


@pytest.mark.usefixtures("playing")
def test_live_figures_follow_when_they_are_news_and_no_faster_than_once_a_second(
    bed: Testbed,
) -> None:
    """A frontend that stood still for longer than it had written ahead has an xrun to show."""
    before = int((bed.node() or {})["xenpv.xruns"])
    assert bed.frontend is not None
    os.kill(bed.frontend.pid, signal.SIGSTOP)
    time.sleep(0.7)
    os.kill(bed.frontend.pid, signal.SIGCONT)
    eventually(lambda: int((bed.node() or {})["xenpv.xruns"]) > before, "xruns do not follow")
    began = time.monotonic()
    seen: list[dict[str, str]] = []
    while time.monotonic() - began < 5:
        live = {key: text for key, text in (bed.node() or {}).items() if key in LIVE}
        if not seen or live != seen[-1]:
            seen.append(live)
        time.sleep(0.1)
    assert len(seen) < 2 * (time.monotonic() - began), "the figures flood their readers"


def test_devices_that_nobody_used_yet_show_full_volume_on_all_their_channels() -> None:
    with Testbed(card_nodes(channels_max=8)) as made:
        made.wait_for_node(SINK)
        made.wait_for_node(SOURCE)
        with pulsectl.Pulse("test", server=made.guest.env["PULSE_SERVER"]) as pulse:

            def volumes() -> list[list[float]]:
                sink, source = pulse.get_sink_by_name(SINK), pulse.get_source_by_name(SOURCE)
                return [sink.volume.values, source.volume.values]

            eventually(lambda: volumes() == [[1.0, 1.0]] * 2, "no full volume")
            (sink,) = [sink for sink in pulse.sink_list() if sink.name == SINK]
            assert sink.channel_list == ["front-left", "front-right"]


# -- chosen


def test_pactl_makes_it_the_default_sink(bed: Testbed) -> None:
    output(bed.guest, "pactl", "set-default-sink", "other")
    eventually(lambda: default_sink(bed.guest) == "other", "the other sink was not chosen")
    output(bed.guest, "pactl", "set-default-sink", SINK)
    eventually(lambda: default_sink(bed.guest) == SINK, "pactl did not choose it")


def test_wpctl_makes_it_the_default_sink(bed: Testbed) -> None:
    output(bed.guest, "wpctl", "set-default", node_id(bed.guest, "other"))
    eventually(lambda: default_sink(bed.guest) == "other", "the other sink was not chosen")
    output(bed.guest, "wpctl", "set-default", node_id(bed.guest, SINK))
    eventually(lambda: default_sink(bed.guest) == SINK, "wpctl did not choose it")


def test_pulsectl_sees_it_chooses_it_and_sets_its_volume(bed: Testbed) -> None:
    output(bed.guest, "pactl", "set-default-sink", "other")
    eventually(lambda: default_sink(bed.guest) == "other", "the other sink was not chosen")
    with pulsectl.Pulse("test", server=bed.guest.env["PULSE_SERVER"]) as pulse:
        (sink,) = [sink for sink in pulse.sink_list() if sink.name == SINK]
        assert sink.description == TITLE
        assert sink.proplist["xenpv.unique-id"] == "playback"
        pulse.sink_default_set(sink)
        eventually(lambda: pulse.server_info().default_sink_name == SINK, "was not chosen")
        # the volume of a card's sink is its route's: it comes back by way of the card
        pulse.volume_set_all_chans(sink, 0.5)
        half = pytest.approx([0.5, 0.5], abs=0.01)
        try:
            eventually(lambda: pulse.get_sink_by_name(SINK).volume.values == half, "not at half")
        finally:
            pulse.volume_set_all_chans(sink, 1.0)


# -- heard


@pytest.fixture
def chosen(bed: Testbed) -> None:
    """The sink is the default one, at full volume."""
    output(bed.guest, "pactl", "set-default-sink", SINK)
    output(bed.guest, "pactl", "set-sink-volume", SINK, "100%")
    eventually(lambda: default_sink(bed.guest) == SINK, "was not chosen")


@pytest.mark.usefixtures("chosen")
@pytest.mark.parametrize(
    "player",
    [("pw-play",), ("paplay",), ("aplay", "-q", "-D", "pipewire")],
    ids=lambda player: player[0],
)
def test_players_are_heard_whole_and_in_order(
    player: tuple[str, ...], bed: Testbed, tmp_path: Path
) -> None:
    samples = noise(FRAMES, 2)
    file = write_noise(tmp_path / "a.wav", samples, 2)

    def attempt() -> Comparison:
        assert bed.loudspeaker is not None
        first = bed.loudspeaker.frames
        run_client(bed.guest, *player, str(file))
        return heard(bed, first, samples, 2)

    until_whole(attempt)


@pytest.mark.usefixtures("chosen")
def test_speaker_test_is_heard_on_both_sides(bed: Testbed) -> None:
    assert bed.loudspeaker is not None
    speaker, first = bed.loudspeaker, bed.loudspeaker.frames

    def loud(side: int) -> bool:
        samples = array("f", speaker.data(first))
        return sum(abs(sample) > 0.01 for sample in samples[side::2]) > RATE // 4

    options = ["-D", "pipewire", "-c", "2", "-r", str(RATE), "-t", "sine", "-l", "1"]
    test = bed.guest.popen(["speaker-test", *options], stdout=DEVNULL)
    try:
        for side in (0, 1):
            eventually(lambda side=side: loud(side), f"nothing is heard on channel {side}")
    finally:  # shown if it fails: whether it still plays, and where to
        print(test.poll(), default_sink(bed.guest), bed.node())
        print(output(bed.guest, "pactl", "list", "short", "sink-inputs"))
        test.kill()
        test.wait()


@pytest.mark.skipif(
    importlib.util.find_spec("pipewire_python") is None, reason="pipewire_python is not installed"
)
@pytest.mark.usefixtures("chosen")
def test_pipewire_python_plays_through_it(
    bed: Testbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipewire_python.controller import Controller

    samples = noise(FRAMES, 2)
    file = write_noise(tmp_path / "a.wav", samples, 2)
    for key, text in bed.guest.env.items():
        monkeypatch.setenv(key, text)

    def attempt() -> Comparison:
        assert bed.loudspeaker is not None
        first = bed.loudspeaker.frames
        controller = Controller()
        controller.set_config(rate=RATE, channels=2, _format="s16", volume=1.0, quality=4)
        controller.playback(audio_filename=str(file))
        return heard(bed, first, samples, 2)

    until_whole(attempt)
