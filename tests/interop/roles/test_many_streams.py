"""A card as an Android guest's audio HAL has it: a playback stream for each bus and a microphone,
48 kHz S16 stereo, all of one period, all open at once, and no session manager in the guest: the
HAL's part, which gives nodes their ports and links them, is pw-cli's and pw-link's here.

Each stream's sound goes to a loudspeaker of its own on the host, which the guest may choose.
"""

from __future__ import annotations

import json
import subprocess
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from interop.sound import (
    LIMIT_SEC,
    MICROPHONE,
    RATE,
    Recording,
    eventually,
    noise,
    run_client,
    until_whole,
    write_noise,
)
from xenpvaudio.sound.compare import Comparison, compare
from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.graph_dump import named_node, of_kind
from xenpvaudio.testbed.loudspeaker import Loudspeaker
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import Testbed, card_nodes, find_node, graph

BUSES = {
    "media": "music",
    "navigation": "navi",
    "voice-command": "Speech-High",
    "call-ring": "event",
    "call": "phone",
    "alarm": "Alert",
    "notification": "Notification",
    "system-sound": "game",
}
SINKS = [f"xenpv_sink.0.{pcm}.0" for pcm in range(len(BUSES))]
SOURCE = f"xenpv_source.0.{len(BUSES)}.0"
SECONDS = 4
PERIOD = 512
ATTEMPTS = 3
# Until the second of a stream's two links is made, only one of its sides is heard.
LEAD_IN = array("f", bytes(4 * 2 * 2 * RATE))
POLICY = f"""
[default]
microphone = true
targets = ["*"]
roles = {json.dumps(list(BUSES.values()))}
"""


def hal_nodes() -> dict[str, str]:
    nodes = card_nodes(
        formats=["s16_le"], channels_min=2, channels_max=2, buffer_bytes=65536, capture=False
    )
    nodes = {key: text for key, text in nodes.items() if not key.startswith("0/")}
    for pcm, (bus, role) in enumerate(BUSES.items()):
        nodes |= {
            f"{pcm}/name": bus,
            f"{pcm}/0/type": "p",
            f"{pcm}/0/unique-id": f"pulse<{bus}>media.role:{role}",
        }
    last = len(BUSES)
    return nodes | {f"{last}/name": "microphone", f"{last}/0/type": "c"}


class Car:
    """The guest, and the host's loudspeakers by bus."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.speakers: dict[str, Loudspeaker] = {}
        for bus in BUSES:
            self.speakers[bus] = Loudspeaker(folder / bus, 8, RATE)
            stack.callback(self.speakers[bus].stop)
        policy = folder / "backend.toml"
        policy.write_text(POLICY)
        sinks = [pwconf.pipe_sink(folder / bus, bus, description=bus) for bus in BUSES]
        self.bed = stack.enter_context(
            Testbed(
                hal_nodes(),
                guest_session_manager=False,
                host_fragments=[*sinks, MICROPHONE],
                backend_args=["--policy", str(policy)],
                frontend_args=["--period-frames", str(PERIOD)],
            )
        )
        self.guest = self.bed.guest
        for name in SINKS:
            self.give_ports(name, "Input")
        self.give_ports(SOURCE, "Output")

    def give_ports(self, name: str, direction: str) -> None:
        """What a session manager does first: a port for each channel, of float samples."""
        node = eventually(lambda: named_node(graph(self.guest), name), f"there is no {name}")
        form = {"mediaType": "audio", "mediaSubtype": "raw", "format": "F32P"}
        shape = {"rate": RATE, "channels": 2, "position": ["FL", "FR"]}
        config = {"direction": direction, "mode": "dsp", "format": {**form, **shape}}
        set_param = ["pw-cli", "set-param", str(node["id"]), "PortConfig", json.dumps(config)]
        run_client(self.guest, *set_param)

    def link(self, output: str, input_: str) -> None:
        for side in ("FL", "FR"):
            link = ["pw-link", f"{output}_{side}", f"{input_}_{side}"]
            eventually(lambda link=link: succeeds(self.guest, link), f"not linked: {link}")


@pytest.fixture(scope="module")
def car(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Car]:
    with ExitStack() as stack:
        yield Car(tmp_path_factory.mktemp("car"), stack)


def succeeds(session: PipeWireSession, command: list[str]) -> bool:
    return session.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def bus_sounds() -> dict[str, array[float]]:
    return {bus: noise(SECONDS * RATE, 2, seed=n + 1) for n, bus in enumerate(BUSES)}


def start_player(car: Car, number: int, file: Path) -> subprocess.Popen[Any]:
    name = f"player-{number}"
    player = car.guest.popen(
        ["pw-play", "--target", "0", "-P", f"{{ node.name = {name} }}", str(file)],
        stderr=subprocess.DEVNULL,
    )
    car.give_ports(name, "Output")
    return player


def talk(car: Car, file: Path) -> subprocess.Popen[Any]:
    """Somebody speaks into the host's microphone."""
    assert car.bed.host is not None
    host = car.bed.host
    talker = host.popen(["pw-play", "--target", "0", "-P", "{ node.name = talker }", str(file)])
    for side in ("FL", "FR"):
        link = ["pw-link", f"talker:output_{side}", f"microphone:input_{side}"]
        eventually(lambda link=link: succeeds(host, link), "nobody speaks")
    return talker


def everything_at_once(
    car: Car, folder: Path, sounds: dict[str, array[float]], speech: array[float]
) -> dict[str, Comparison]:
    """Of each bus, and of the microphone."""
    first = {bus: speaker.frames for bus, speaker in car.speakers.items()}
    recording = Recording(car.guest, "0", folder / "recorded.wav", "-P", "{ node.name = recorder }")
    car.give_ports("recorder", "Input")
    car.link(f"{SOURCE}:capture", "recorder:input")
    files = [write_noise(folder / f"{b}.wav", LEAD_IN + s, 2) for b, s in sounds.items()]
    players = [start_player(car, number, file) for number, file in enumerate(files)]
    for number, sink in enumerate(SINKS):
        car.link(f"player-{number}:output", f"{sink}:playback")
    talker = talk(car, write_noise(folder / "speech.wav", LEAD_IN + speech, 2))
    assert [player.wait(LIMIT_SEC) for player in (*players, talker)] == [0] * (len(players) + 1)
    eventually(lambda: all(quiet(s) for s in car.speakers.values()), "they never end")
    results = {
        bus: compare(sounds[bus].tobytes(), speaker.data(first[bus]), 8, bytes(8))
        for bus, speaker in car.speakers.items()
    }
    assert_together(car, first, results)
    recorded = recording.stop()
    return results | {"microphone": compare(speech.tobytes(), recorded.tobytes(), 8, bytes(8))}


def quiet(speaker: Loudspeaker) -> bool:
    return not any(speaker.data(max(0, speaker.frames - RATE // 20)))


def assert_together(car: Car, first: dict[str, int], results: dict[str, Comparison]) -> None:
    """For more than half of the time all buses sounded: no stream waited for another."""
    begins, ends = [], []
    for bus, speaker in car.speakers.items():
        start = results[bus].first_received_frame
        assert start is not None, f"nothing of {bus} arrived"
        for times, frame in ((begins, start), (ends, start + SECONDS * RATE)):
            nsec = speaker.played_nsec(first[bus] + frame)
            assert nsec is not None
            times.append(nsec)
    assert min(ends) - max(begins) > SECONDS * 1e9 / 2


def periods(car: Car) -> set[str]:
    found = of_kind(graph(car.guest), "Node")
    ours = [node for node in found if node["info"]["props"]["node.name"] in (*SINKS, SOURCE)]
    return {str(node["info"]["props"].get("xenpv.period-frames")) for node in ours}


def test_all_streams_run_at_once_each_with_its_own_sound(car: Car, tmp_path: Path) -> None:
    sounds, speech = bus_sounds(), noise(SECONDS * RATE, 2, seed=99)
    for left in reversed(range(ATTEMPTS)):
        results = everything_at_once(car, tmp_path, sounds, speech)
        for bus, result in results.items():
            found = (result.duplicated, result.reordered, result.corrupted)
            assert found == (0, 0, 0), f"{bus}: {result}"
        lost = {bus: result for bus, result in results.items() if result.lost}
        if not lost:  # a host that stalls drops cycles
            break
        assert left, lost
    assert periods(car) == {str(PERIOD)}


def test_the_host_knows_each_stream_by_its_role(car: Car, tmp_path: Path) -> None:
    assert car.bed.host is not None
    host = car.bed.host
    silence = write_noise(tmp_path / "silence.wav", LEAD_IN * 10, 2)
    players = [start_player(car, number, silence) for number in range(len(SINKS))]
    for number, sink in enumerate(SINKS):
        car.link(f"player-{number}:output", f"{sink}:playback")
    for pcm, (bus, role) in enumerate(BUSES.items()):
        name = f"xenpv.demo-guest.vsnd/0.{pcm}/0"
        stream = eventually(lambda name=name: find_node(host, name), f"no stream for {bus}")
        assert (stream["media.role"], stream["target.object"]) == (role, bus)
    for player in players:
        player.kill()
        player.wait()


def test_a_stream_that_is_suspended_leaves_the_host_and_comes_back_whole(
    car: Car, tmp_path: Path
) -> None:
    """A HAL's standby. The host mixes by the roles of those who are there."""
    assert car.bed.host is not None
    host, name = car.bed.host, "xenpv.demo-guest.vsnd/0.1/0"
    sound, speaker = noise(RATE, 2, seed=7), car.speakers["navigation"]
    file = write_noise(tmp_path / "prompt.wav", LEAD_IN + sound, 2)

    def prompt() -> Comparison:
        first = speaker.frames
        player = start_player(car, 1, file)
        car.link("player-1:output", f"{SINKS[1]}:playback")
        assert player.wait(LIMIT_SEC) == 0
        eventually(lambda: quiet(speaker), "it never ends")
        assert find_node(host, name) is not None
        node = named_node(graph(car.guest), SINKS[1])
        assert node is not None
        run_client(car.guest, "pw-cli", "send-command", str(node["id"]), "Suspend", "{}")
        eventually(lambda: find_node(host, name) is None, "it is still there")
        return compare(sound.tobytes(), speaker.data(first), 8, bytes(8))

    until_whole(prompt)
    until_whole(prompt)
