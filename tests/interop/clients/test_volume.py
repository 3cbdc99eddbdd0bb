"""One volume on both sides: what is set in the guest is the volume of its stream in the host's
mixer, before which the samples are untouched, and what is set there shows in the guest."""

from __future__ import annotations

import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulsectl
import pytest

from interop.sound import (
    RATE,
    Recording,
    at_volume,
    eventually,
    heard,
    noise,
    play,
    play_and_hear,
    run_client,
    write_noise,
)
from xenpvaudio.sound.compare import compare
from xenpvaudio.sound.wav import read_wav, to_float32
from xenpvaudio.testbed.graph_dump import named_node
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes, graph
from xenpvaudio.xen.connect import SIM_VARIABLE

HOST_STREAM = "xenpv.demo-guest.vsnd/0.0/0"
FRAMES = RATE * 3 // 4
FRAME_BYTES = 8
Volume = tuple[list[float], bool]


def made(**arguments: Any) -> Testbed:
    return Testbed(card_nodes(formats=["float_le"]), frontend_args=["--wait"], **arguments)


@pytest.fixture
def bed() -> Iterator[Testbed]:
    with made() as bed:
        bed.wait_for_node(SINK)
        bed.wait_for_node(SOURCE)
        yield bed


@pytest.fixture
def pulse(bed: Testbed) -> Iterator[pulsectl.Pulse]:
    with pulsectl.Pulse("test", server=bed.guest.env["PULSE_SERVER"]) as made:
        yield made


@pytest.fixture
def held(bed: Testbed, tmp_path: Path) -> None:
    hold(bed, tmp_path)


def hold(bed: Testbed, path: Path, sec: int = 120) -> subprocess.Popen[bytes]:
    """Somebody plays silence, so the stream is open."""
    file = write_noise(path / "silence.wav", array("f", bytes(FRAME_BYTES * RATE * sec)), 2)
    process = bed.guest.popen(["pw-play", "--target", SINK, str(file)])  # ends with the session
    eventually(lambda: (bed.node() or {}).get("xenpv.state") == "running", "nobody plays")
    eventually(lambda: host_runs(bed), "the host plays nothing")
    return process


def host_runs(bed: Testbed) -> bool:
    """Whether the guest's stream has a device on the host."""
    assert bed.host is not None
    node = named_node(graph(bed.host), HOST_STREAM)
    return node is not None and node["info"]["state"] == "running"


def node_props(session: PipeWireSession | None, name: str) -> dict[str, Any]:
    assert session is not None
    node = named_node(graph(session), name)
    found: dict[str, Any] = {}
    for props in [] if node is None else node["info"]["params"].get("Props", ()):
        found |= props
    return found


def host_volume(bed: Testbed) -> Volume:
    """Of the guest's stream in the host's mixer, linear, and whether it is muted."""
    props = node_props(bed.host, HOST_STREAM)
    return props.get("channelVolumes", []), props.get("mute", False)


def host_id(bed: Testbed) -> str:
    assert bed.host is not None
    node = named_node(graph(bed.host), HOST_STREAM)
    assert node is not None
    return str(node["id"])


def host_becomes(bed: Testbed, *volumes: float, mute: bool = False) -> None:
    wanted = pytest.approx(volumes, rel=1e-4)
    eventually(
        lambda: host_volume(bed) == (wanted, mute), f"the host's stream is not at {volumes}, {mute}"
    )


def sink(pulse: pulsectl.Pulse) -> Any:
    return pulse.get_sink_by_name(SINK)


def host_sets(bed: Testbed, pulse: pulsectl.Pulse, volume: float, mute: int, *what: str) -> None:
    """By wpctl, and the guest shows it."""
    assert bed.host is not None
    run_client(bed.host, "wpctl", what[0], host_id(bed), what[1])
    guest_shows(pulse, volume, mute)


def guest_shows(pulse: pulsectl.Pulse, volume: float, mute: int = 0) -> None:
    """As pavucontrol shows it, by PulseAudio's cubic curve."""
    wanted = pytest.approx([volume, volume], abs=1e-3)
    eventually(
        lambda: sink(pulse).volume.values == wanted and sink(pulse).mute == mute,
        f"the guest does not show {volume}, {mute}",
    )


# -- from the guest to the host


def test_the_hosts_stream_has_the_guests_volume_and_the_samples_come_there_untouched(
    tmp_path: Path,
) -> None:
    """What its node is given is recorded before its volume; what is heard is a loudspeaker's."""
    record = ["--allow-microphone", "--record", str(tmp_path / "given.wav")]
    samples = noise(FRAMES, 2)
    file = write_noise(tmp_path / "a.wav", samples, 2)
    with made(backend_args=record) as bed:
        bed.wait_for_node(SINK)
        with pulsectl.Pulse("test", server=bed.guest.env["PULSE_SERVER"]) as pulse:
            pulse.volume_set_all_chans(sink(pulse), 0.5)
            first = play(bed, file)
            host_becomes(bed, 0.125, 0.125)
            eventually(lambda: (bed.node() or {}).get("xenpv.volume") == "host", "by the guest")
            result = heard(bed, first, at_volume(samples, 0.125), 2)
            assert result.bit_exact, result
            assert sink(pulse).volume.values == [0.5, 0.5]
        bed.stop_halves()
        given = to_float32(read_wav(tmp_path / "given.wav"))
    result = compare(samples.tobytes(), given.tobytes(), FRAME_BYTES, bytes(FRAME_BYTES))
    assert result.bit_exact, result


@pytest.mark.usefixtures("held")
def test_each_channel_and_mute_of_the_guest_are_those_of_the_hosts_stream(
    bed: Testbed, pulse: pulsectl.Pulse
) -> None:
    run_client(bed.guest, "pactl", "set-sink-volume", SINK, "100%", "50%")
    host_becomes(bed, 1.0, 0.125)
    run_client(bed.guest, "pactl", "set-sink-mute", SINK, "1")
    host_becomes(bed, 1.0, 0.125, mute=True)
    object_id = str((bed.node() or {})["object.id"])
    run_client(bed.guest, "wpctl", "set-mute", object_id, "0")
    host_becomes(bed, 1.0, 0.125)
    run_client(bed.guest, "wpctl", "set-volume", object_id, "0.8")
    host_becomes(bed, 0.512, 0.512)
    props = node_props(bed.guest, SINK)
    assert props["softVolumes"] == [1.0, 1.0] and not props["softMute"]


def test_a_slider_that_is_dragged_while_noise_plays_touches_no_sample(tmp_path: Path) -> None:
    """Volumes and samples share a buffer: the host's stream gets every frame as it was, once and in
    order, while its volume moves."""
    long = noise(RATE * 4, 2)
    file = write_noise(tmp_path / "a.wav", long, 2)
    seen = set()
    with made(backend_args=["--record", str(tmp_path / "given.wav")]) as bed:
        bed.wait_for_node(SINK)
        with pulsectl.Pulse("test", server=bed.guest.env["PULSE_SERVER"]) as pulse:
            player = bed.guest.popen(["pw-play", "--target", SINK, str(file)])
            step = 0
            while player.poll() is None:
                pulse.volume_set_all_chans(sink(pulse), 0.5 + 0.02 * (step % 20))
                step += 1
                time.sleep(0.02)
                if step % 7 == 0:  # of 20 steps: another place of the slider each time
                    seen.add((*host_volume(bed)[0],))
        bed.stop_halves()
        given = to_float32(read_wav(tmp_path / "given.wav"))
    assert len(seen) > 4, seen
    result = compare(long.tobytes(), given.tobytes(), FRAME_BYTES, bytes(FRAME_BYTES))
    assert result.bit_exact, result


def test_what_the_guest_sets_while_its_stream_is_closed_is_no_older_than_what_the_host_remembers(
    bed: Testbed, pulse: pulsectl.Pulse, tmp_path: Path
) -> None:
    player = hold(bed, tmp_path)
    pulse.volume_set_all_chans(sink(pulse), 0.5)
    host_becomes(bed, 0.125, 0.125)
    state = Path(bed.host.env["XDG_STATE_HOME"]) / "wireplumber" if bed.host else Path()
    eventually(
        lambda: any("0.1249" in path.read_text() for path in state.glob("*stream*")),
        "the host's session manager remembers nothing",
    )
    player.terminate()
    eventually(lambda: not node_props(bed.host, HOST_STREAM), "the stream is still open")
    pulse.volume_set_all_chans(sink(pulse), 1.0)
    samples = noise(FRAMES, 2)
    file = write_noise(tmp_path / "a.wav", samples, 2)
    hold(bed, tmp_path)
    host_becomes(bed, 1.0, 1.0)
    play_and_hear(bed, file, samples, 2)
    host_becomes(bed, 1.0, 1.0)
    guest_shows(pulse, 1.0)


def test_a_backend_that_does_not_mix_leaves_it_to_pipewire_in_the_guest(tmp_path: Path) -> None:
    """A loopback returns what it was given: an eighth, exactly, and nothing when muted."""
    samples = noise(FRAMES, 2)
    file = write_noise(tmp_path / "a.wav", samples, 2)
    with made(backend_args=["--output", "loopback", "--allow-microphone"]) as bed:
        bed.wait_for_node(SINK)
        bed.wait_for_node(SOURCE)
        with pulsectl.Pulse("test", server=bed.guest.env["PULSE_SERVER"]) as pulse:
            pulse.volume_set_all_chans(sink(pulse), 0.5)
            recording = Recording(bed.guest, SOURCE, tmp_path / "r.wav")
            eventually(
                lambda: (bed.node(SOURCE) or {}).get("xenpv.state") == "running", "no recording"
            )
            run_client(bed.guest, "pw-play", "--target", SINK, str(file))
            assert (bed.node() or {})["xenpv.volume"] == "guest"
            assert node_props(bed.guest, SINK)["softVolumes"] == [0.125, 0.125]
            pulse.mute(sink(pulse), True)
            run_client(bed.guest, "pw-play", "--target", SINK, str(file))
            received = recording.stop()
            assert "refused SET_VOLUME with -XEN_EOPNOTSUPP: it is done here" in bed.log("frontend")
    eighth = array("f", [sample / 8 for sample in samples])
    result = compare(eighth.tobytes(), received.tobytes(), FRAME_BYTES, bytes(FRAME_BYTES))
    assert result.bit_exact, result


# -- from the host to the guest


@pytest.mark.usefixtures("held")
def test_what_is_set_on_the_host_shows_in_the_guest(bed: Testbed, pulse: pulsectl.Pulse) -> None:
    assert bed.host is not None
    host_becomes(bed, 1.0, 1.0)
    host_sets(bed, pulse, 0.5, 0, "set-volume", "0.5")
    host_sets(bed, pulse, 0.5, 1, "set-mute", "1")
    host_sets(bed, pulse, 0.5, 0, "set-mute", "0")
    with pulsectl.Pulse("host", server=bed.host.env["PULSE_SERVER"]) as host:
        (stream_there,) = host.sink_input_list()
        host.volume_set_all_chans(stream_there, 0.8)
        guest_shows(pulse, 0.8)
        pulse.volume_set_all_chans(sink(pulse), 0.5)
        eventually(
            lambda: host.sink_input_list()[0].volume.values == pytest.approx([0.5, 0.5], abs=1e-3),
            "the host's mixer does not follow",
        )
    guest_shows(pulse, 0.5)


def test_what_is_set_as_soon_as_the_hosts_stream_plays_is_no_memory_of_the_session_manager(
    bed: Testbed, pulse: pulsectl.Pulse, tmp_path: Path
) -> None:
    """Within the second in which that one may still set what it remembers."""
    assert bed.host is not None
    with pulsectl.Pulse("host", server=bed.host.env["PULSE_SERVER"]) as host:
        file = write_noise(tmp_path / "silence.wav", array("f", bytes(FRAME_BYTES * RATE * 60)), 2)
        for volume in (0.8, 0.5):  # the second one meets the first one's memory
            player = bed.guest.popen(["pw-play", "--target", SINK, str(file)])
            (there,) = eventually(
                lambda: [s for s in host.sink_input_list() if not s.corked], "nothing plays"
            )
            host.volume_set_all_chans(there, volume)
            guest_shows(pulse, volume)
            player.terminate()
            eventually(lambda: not host.sink_input_list(), "the stream is still open")
            guest_shows(pulse, volume)


@pytest.mark.usefixtures("held")
def test_a_mute_by_the_hosts_mixer_is_lifted_in_the_guest(
    bed: Testbed, pulse: pulsectl.Pulse
) -> None:
    assert bed.host is not None
    host_becomes(bed, 1.0, 1.0)
    host_sets(bed, pulse, 1.0, 1, "set-mute", "1")
    run_client(bed.guest, "pactl", "set-sink-mute", SINK, "0")
    host_becomes(bed, 1.0, 1.0)


@pytest.mark.usefixtures("held")
def test_an_order_to_be_silent_shows_as_a_mute_that_the_guest_cannot_lift(
    bed: Testbed, pulse: pulsectl.Pulse
) -> None:
    host_becomes(bed, 1.0, 1.0)
    order(bed, "mute")
    guest_shows(pulse, 1.0, 1)
    run_client(bed.guest, "pactl", "set-sink-mute", SINK, "0")
    guest_shows(pulse, 1.0, 1)
    host_becomes(bed, 1.0, 1.0, mute=True)
    order(bed, "unmute")
    guest_shows(pulse, 1.0)
    host_becomes(bed, 1.0, 1.0)


def order(bed: Testbed, verb: str) -> None:
    assert bed.host is not None
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", verb, "all"],
        env={**bed.host.env, SIM_VARIABLE: f"{bed.directory / 'xen'}:0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
