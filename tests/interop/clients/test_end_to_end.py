"""Sound through everything: what applications play and record, compared frame by frame.

Real applications, two real PipeWire daemons, backend and frontend as processes, between them the
simulated hypervisor.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from subprocess import DEVNULL

import pytest

from interop.sound import (
    LIMIT_SEC,
    MICROPHONE,
    RATE,
    Recording,
    assert_whole,
    eventually,
    heard,
    noise,
    play,
    play_and_hear,
    run_client,
    until_lost,
    write_noise,
)
from xenpvaudio.sound.compare import Comparison, compare
from xenpvaudio.sound.wav import read_wav, to_float32
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes, find_node

HOST_STREAM = "xenpv.demo-guest.vsnd/0.0/0"

FRAMES = RATE * 3 // 4
# The wire's formats, with how many bits of a sample each can hold.
FORMATS = {"s16_le": 16, "s32_le": 24, "float_le": 24, "s16_be": 16, "u8": 8, "s24_le": 24}


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """A guest with a card for each format."""
    with Testbed(card_nodes(formats=["s16_le"], capture=False)) as made:
        assert made.toolstack is not None
        for devid, name in enumerate(FORMATS):
            if devid:
                nodes = card_nodes(formats=[name], capture=False)
                made.toolstack.attach_vsnd(1, devid, nodes)
        for devid in range(len(FORMATS)):
            made.wait_for_node(f"xenpv_sink.{devid}.0.0")
        yield made


@pytest.mark.parametrize("name", FORMATS)
def test_every_wire_format_carries_what_it_can_hold(
    name: str, bed: Testbed, tmp_path: Path
) -> None:
    sink = f"xenpv_sink.{list(FORMATS).index(name)}.0.0"
    samples = noise(FRAMES, 2, bits=FORMATS[name])
    file = write_noise(tmp_path / "a.wav", samples, 2, encoding="f32")
    play_and_hear(bed, file, samples, 2, target=sink)
    assert (bed.node(sink) or {})["xenpv.format"] == name
    assert f"open {name} 48000 Hz 2 channels" in bed.log("backend")


@pytest.mark.parametrize("channels", [1, 4, 6, 8])
def test_every_channel_arrives_at_its_own_position(channels: int, tmp_path: Path) -> None:
    nodes = card_nodes(channels_min=channels, channels_max=channels, capture=False)
    with Testbed(nodes, channels=channels) as made:
        made.wait_for_node()
        samples = noise(FRAMES, channels)
        file = write_noise(tmp_path / "a.wav", samples, channels)
        play_and_hear(made, file, samples, channels)


def test_a_card_of_44100_hz_is_as_exact(tmp_path: Path) -> None:
    with Testbed(card_nodes(rates=[44100], capture=False), rate=44100) as made:
        assert made.wait_for_node()["audio.rate"] == 44100
        samples = noise(FRAMES, 2)
        file = write_noise(tmp_path / "a.wav", samples, 2, rate=44100)
        play_and_hear(made, file, samples, 2)
        assert "44100 Hz" in made.log("backend")


def test_no_library_complains_of_how_it_is_used(bed: Testbed, tmp_path: Path) -> None:
    """PipeWire's libraries print to the program's standard error what they refuse, and go on."""
    samples = noise(FRAMES, 2)
    play_and_hear(bed, write_noise(tmp_path / "a.wav", samples, 2), samples, 2)
    for half in ("backend", "frontend"):
        lines = bed.log(half).splitlines()
        assert lines
        assert [line for line in lines if not line.startswith("xen-pv-audio: ")] == []


# -- the graph changes under a playing stream


QUANTA = (256, 2048, 512, 64, 1000)  # the last one is rounded down to a power of two
BED_QUANTUM = 1024


def test_quantum_changes_lose_and_repeat_no_frame(bed: Testbed, tmp_path: Path) -> None:
    """By the limits, as clients that ask for less or more do it: PipeWire 1.0 and later suspends
    the whole graph when a quantum is forced.

    PipeWire 1.4's pw-play fills its next buffer for the old quantum; when that was longer, the rest
    of it is lost, in any sink. So it plays into one without us first, and that is all that may be
    missing; with 0.3.65, nothing is."""
    samples = noise(RATE * 3, 2)
    file = write_noise(tmp_path / "a.wav", samples, 2)
    steps = pairwise((BED_QUANTUM, *QUANTA[:-1]))
    by_pw_play = sum(max(before - after, 0) for before, after in steps)

    def attempt(session: PipeWireSession, *target: str) -> Comparison:
        assert bed.loudspeaker is not None
        first = bed.loudspeaker.frames
        player = session.popen(["pw-play", *target, str(file)])
        try:
            for quantum in QUANTA:
                time.sleep(0.4)
                limit_quantum(session, quantum, quantum)
            time.sleep(0.4)
            limit_quantum(session, 32, BED_QUANTUM)
            assert player.wait(LIMIT_SEC) == 0
        finally:
            limit_quantum(session, 32, BED_QUANTUM)
        return heard(bed, first, samples, 2)

    assert bed.host is not None
    allowed = until_lost(lambda: attempt(bed.host), {0, by_pw_play})
    until_lost(lambda: attempt(bed.guest, "--target", SINK), {allowed})


def limit_quantum(session: PipeWireSession, least: int, most: int) -> None:
    # the lower one is never above the upper one
    for key, frames in (("min", 32), ("max", most), ("min", least)):
        set_clock(session, f"clock.{key}-quantum", frames)


def set_clock(session: PipeWireSession, key: str, frames: int) -> None:
    run_client(session, "pw-metadata", "-n", "settings", "0", key, str(frames))


def test_an_idle_sink_is_suspended_and_plays_again(bed: Testbed, tmp_path: Path) -> None:
    samples = noise(FRAMES, 2)
    file = write_noise(tmp_path / "a.wav", samples, 2)
    play_and_hear(bed, file, samples, 2)
    assert bed.host is not None
    host = bed.host
    assert find_node(host, HOST_STREAM) is not None
    held = len(bed.hypervisor.report())
    # WirePlumber suspends what was idle for 5 s
    eventually(lambda: find_node(host, HOST_STREAM) is None, "the host's stream is still there")
    assert len(bed.hypervisor.report()) < held
    assert bed.node() is not None
    play_and_hear(bed, file, samples, 2)
    assert find_node(host, HOST_STREAM) is not None


def test_a_sink_that_nobody_plays_to_is_paused_before_it_is_suspended(
    bed: Testbed, tmp_path: Path
) -> None:
    """As PipeWire's own devices are. A node that ran on would refuse the format that WirePlumber
    0.5 sets when it is started anew, and for that PipeWire suspends it and never starts it."""
    samples = noise(FRAMES, 2)
    play_and_hear(bed, write_noise(tmp_path / "a.wav", samples, 2), samples, 2)
    seen = set()

    def suspended() -> bool:
        seen.add((bed.node() or {}).get("xenpv.state"))
        return "suspended" in seen

    eventually(suspended, "it is never suspended")
    assert "idle" in seen, seen


# -- a virtual device whose clock is fast, and which returns what it plays


PPM = 500


@pytest.fixture(scope="module")
def loop() -> Iterator[Testbed]:
    args = ["--output", f"loopback,delay=20ms,ppm={PPM}"]
    with Testbed(card_nodes(formats=["float_le"]), backend_args=args) as made:
        made.wait_for_node(SINK)
        made.wait_for_node(SOURCE)
        yield made


def running(bed: Testbed, name: str) -> bool:
    return (bed.node(name) or {}).get("xenpv.state") == "running"


def wait_until_idle(bed: Testbed) -> None:
    eventually(lambda: not running(bed, SINK) and not running(bed, SOURCE), "streams still run")


def test_a_recording_alone_is_as_long_as_the_time_it_took_and_silent(
    loop: Testbed, tmp_path: Path
) -> None:
    wait_until_idle(loop)
    recording = Recording(loop.guest, SOURCE, tmp_path / "r.wav")
    eventually(lambda: running(loop, SOURCE), "the source does not run")
    assert not running(loop, SINK)
    assert 0 < float((loop.node(SOURCE) or {})["xenpv.delay-ms"]) < 1000
    began = time.monotonic()
    time.sleep(1.5)
    took = time.monotonic() - began
    recorded = recording.stop()
    assert took * 0.8 < len(recorded) / 2 / RATE < 4 * took
    assert not any(recorded)
    assert not running(loop, SINK)


def test_a_recording_holds_what_is_played_meanwhile_once_and_in_order(
    loop: Testbed, tmp_path: Path
) -> None:
    samples = noise(RATE, 2)
    recording = Recording(loop.guest, SOURCE, tmp_path / "r.wav")
    eventually(lambda: running(loop, SOURCE), "the source does not run")
    play(loop, write_noise(tmp_path / "a.wav", samples, 2))
    time.sleep(0.5)
    recorded = recording.stop()
    assert_whole(compare(samples.tobytes(), recorded.tobytes(), 8, bytes(8)))


def test_playing_and_recording_in_one_graph_is_as_exact(loop: Testbed, tmp_path: Path) -> None:
    """What call programs and echo cancellers do. One device drives and the other one follows; both
    have the backend's clock, so nothing is resampled."""
    samples = noise(RATE, 2)
    file = write_noise(tmp_path / "a.wav", array("f", bytes(4 * 2 * RATE)) + samples, 2)
    group = ["-P", "{ node.group=duplex }"]
    recording = Recording(loop.guest, SOURCE, tmp_path / "r.wav", *group)
    player = loop.guest.popen(["pw-play", "--target", SINK, *group, str(file)])
    eventually(
        lambda: (
            [(loop.node(name) or {}).get("xenpv.driver") for name in (SINK, SOURCE)]
            == ["yes", "no"]
        ),
        "the source does not follow the sink",
    )
    assert player.wait(LIMIT_SEC) == 0
    time.sleep(0.5)
    recorded = recording.stop()
    assert_whole(compare(samples.tobytes(), recorded.tobytes(), 8, bytes(8)))


def test_a_driver_of_higher_priority_is_followed_by_rate_matching(tmp_path: Path) -> None:
    """The samples count frames, so after resampling they still tell which frame was played when.
    The device is fast: what the graph gives it must be stretched, not skipped and repeated."""
    frames = 8 * RATE
    ramp = array("f", [0.25 + i / frames / 2 for i in range(frames) for _ in range(2)])
    file = write_noise(tmp_path / "ramp.wav", ramp, 2, encoding="f32")
    record = tmp_path / "played.wav"
    args = ["--output", f"null,ppm={PPM}", "--record", str(record)]
    nodes = card_nodes(formats=["float_le"], capture=False)
    with Testbed(nodes, backend_args=args) as bed:
        bed.wait_for_node()
        driver = "{ factory.name=support.null-audio-sink node.name=driver media.class=Audio/Sink"
        driver += " node.group=together priority.driver=30000 }"
        keeper = bed.guest.popen(["pw-cli", "-m", "create-node", "adapter", driver], stdout=DEVNULL)
        bed.wait_for_node("driver")
        group = ["-P", "{ node.group=together }"]
        player = bed.guest.popen(["pw-play", "--target", SINK, *group, str(file)])
        eventually(lambda: (bed.node() or {}).get("xenpv.driver") == "no", "it does not follow")
        assert player.wait(LIMIT_SEC) == 0
        keeper.kill()
        bed.stop_halves()  # the recording is complete when the stream is closed
    left = to_float32(read_wav(record))[::2]
    numbers = [(sample - 0.25) * 2 * frames for sample in left if sample > 0.2499]
    assert len(numbers) > 0.95 * frames  # not much was lost while the driver changed
    settled = numbers[4 * RATE : 7 * RATE]
    steps = [after - before for before, after in pairwise(settled)]
    odd = sum(abs(step - 1) > 0.2 for step in steps)  # a stall inserts silence, whose edges ring
    assert odd < len(steps) / 100
    speed = (settled[-1] - settled[0]) / (len(settled) - 1)
    assert -2 * PPM < (speed - 1) * 1e6 < -PPM / 2, f"{(speed - 1) * 1e6:.0f} ppm"


def succeeds(session: PipeWireSession, command: list[str]) -> bool:
    return session.run(command, check=False, stderr=DEVNULL).returncode == 0


# -- the host's graph


def test_a_host_microphone_is_recorded_in_the_guest(tmp_path: Path) -> None:
    samples = noise(RATE, 2)
    # silence first: PipeWire 1.4 begins with the first of the two links
    file = write_noise(tmp_path / "a.wav", array("f", bytes(4 * 2 * RATE)) + samples, 2)
    with Testbed(card_nodes(formats=["float_le"]), host_fragments=[MICROPHONE]) as bed:
        host = bed.host
        assert host is not None
        bed.wait_for_node(SOURCE)
        recording = Recording(bed.guest, SOURCE, tmp_path / "r.wav")
        eventually(lambda: running(bed, SOURCE), "the source does not run")
        speaker = host.popen(["pw-play", "--target", "0", str(file)])
        for side in ("FL", "FR"):
            link = ["pw-link", f"pw-play:output_{side}", f"microphone:input_{side}"]
            eventually(lambda link=link: succeeds(host, link), "nobody speaks")
        assert speaker.wait(LIMIT_SEC) == 0
        time.sleep(0.5)
        recorded = recording.stop()
        stream = find_node(host, "xenpv.demo-guest.vsnd/0.0/1") or {}
        assert stream["media.class"] == "Stream/Input/Audio"
    assert_whole(compare(samples.tobytes(), recorded.tobytes(), 8, bytes(8)))


def test_two_guests_play_at_once_each_its_own(tmp_path: Path) -> None:
    """One on the left and one on the right, so the host's mixture comes apart again."""
    sides = [noise(FRAMES, 1, seed=side) for side in (0, 1)]
    with Testbed(card_nodes(capture=False)) as bed:
        other = bed.add_guest(2, "second", card_nodes(capture=False))
        sessions = {"demo-guest": bed.guest, "second": other.session}
        speaker, host = bed.loudspeaker, bed.host
        assert speaker is not None and host is not None
        files = []
        for side, session in enumerate(sessions.values()):
            eventually(lambda session=session: find_node(session, SINK), "no sink")
            both = array("f", bytes(8 * FRAMES))
            both[side::2] = sides[side]
            files.append(write_noise(tmp_path / f"{side}.wav", both, 2))
        for attempt in reversed(range(3)):
            first = speaker.frames
            players = [
                session.popen(["pw-play", "--target", SINK, str(file)])
                for session, file in zip(sessions.values(), files, strict=True)
            ]
            assert [player.wait(LIMIT_SEC) for player in players] == [0, 0]
            for name in sessions:
                stream = find_node(host, f"xenpv.{name}.vsnd/0.0/0") or {}
                assert stream["application.name"] == name
            time.sleep(1)
            mixture = array("f", speaker.data(first))
            results = [
                compare(one.tobytes(), mixture[side::2].tobytes(), 4, bytes(4))
                for side, one in enumerate(sides)
            ]
            for result in results:
                assert (result.duplicated, result.reordered, result.corrupted) == (0, 0, 0)
            if sum(result.lost for result in results) == 0:
                break
            assert attempt, results
