"""A host with a real PulseAudio server and no PipeWire: each frame arrives once and in order, both
ways, what is told of time is true, and the server may end and come back."""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.command import command
from interop.outputs.hearing import (
    HEARD,
    Player,
    capture_error_frames,
    delay_frames,
    play_whole,
    record_whole,
    records_silence,
    soon,
)
from interop.outputs.pulseaudio import PulseAudio
from interop.outputs.speaker import RATE, Speaker, configuration
from interop.sound import noise, run_client, until_whole, write_noise
from xenpvaudio.sound.compare import Comparison
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

TRUE_FRAMES = RATE // 1000  # 1 ms
SINK_MODULE = (
    "module-alsa-sink device={0} sink_name={0} tsched=0 format=float32le rate=48000 channels=2 "
    "fragments=4 fragment_size=4096"
)
SOURCE_MODULE = (  # with room for a server that a busy machine lets wait
    "module-alsa-source device={0} source_name=microphone tsched=0 format=float32le rate=48000 "
    "channels=2 fragments=16 fragment_size=4096"
)


@dataclass
class Host:
    pulse: PulseAudio
    speaker: Speaker
    other: Speaker
    bed: Testbed


@contextmanager
def host(
    folder: Path, policy: str = "", *, ppm: int = 0, nodes: dict[str, str] | None = None
) -> Iterator[Host]:
    """A guest on a host whose PulseAudio has two loudspeakers, the first of them the default."""
    speaker = Speaker(folder, ppm=ppm, heard=HEARD)
    other = Speaker(folder, name="other")
    environ = configuration(folder, speaker, other)
    modules = [SINK_MODULE.format("speaker"), SINK_MODULE.format("other")]
    modules += [SOURCE_MODULE.format("speaker")]
    file = folder / "backend.toml"
    file.write_text(f'[default]\noutput = "pulse"\n{policy}')
    with PulseAudio(folder, modules, environ) as pulse:
        pulse.pactl("set-default-sink", "speaker")
        with Testbed(
            nodes or card_nodes(formats=["s16_le"]),
            host_environ=pulse.env,
            backend_args=["--policy", str(file)],
        ) as bed:
            bed.wait_for_node(SINK)
            bed.wait_for_node(SOURCE)
            yield Host(pulse, speaker, other, bed)


MICROPHONE = "microphone = true\n"


def inputs(made: Host, what: str = "sink-inputs") -> str:
    return made.pulse.pactl("list", what)


def test_both_ways_are_whole_and_the_streams_are_the_guests(tmp_path: Path) -> None:
    with host(tmp_path, MICROPHONE) as made:
        play_whole(made.bed.guest, made.speaker, tmp_path)
        record_whole(made.bed.guest, tmp_path)
        listed = inputs(made)
        assert 'application.name = "demo-guest"' in listed
        assert 'media.name = "vsnd/0 0/0"' in listed
        for half in ("backend", "frontend"):
            lines = made.bed.log(half).splitlines()
            assert [line for line in lines if not line.startswith("xen-pv-audio: ")] == []


@pytest.mark.parametrize("ppm", [0, 150])
def test_what_is_told_of_time_is_true(ppm: int, tmp_path: Path) -> None:
    with host(tmp_path, MICROPHONE, ppm=ppm) as made:
        told, true = delay_frames(made.bed, made.speaker, seconds=8.0)
        captured = capture_error_frames(made.bed, made.speaker, tmp_path)
        print(f"{ppm} ppm: told {told:.1f}, true {true:.1f}; capture off by {captured:.1f} frames")
        assert abs(told - true) <= TRUE_FRAMES
        assert abs(captured) <= TRUE_FRAMES


def test_without_leave_the_microphone_is_silent(tmp_path: Path) -> None:
    with host(tmp_path) as made:
        assert records_silence(made.bed.guest, tmp_path)
        assert "Source Output" not in inputs(made, "source-outputs")
        assert "microphone is not allowed" in made.bed.log("backend")
        command(made.bed, 0, "mic", "allow", "demo-guest")
        record_whole(made.bed.guest, tmp_path)


def test_a_server_that_is_killed_comes_back_into_a_playing_stream(tmp_path: Path) -> None:
    with host(tmp_path, MICROPHONE) as made:
        player = Player(made.bed.guest, tmp_path)
        soon(lambda: player.is_heard(made.speaker, 0), "nothing is heard")
        made.pulse.kill()
        soon(lambda: "PulseAudio is gone" in made.bed.log("backend"), "nobody noticed")
        first = made.speaker.frames
        time.sleep(1)
        assert made.speaker.frames == first
        made.pulse.start()
        made.pulse.pactl("set-default-sink", "speaker")
        soon(lambda: player.is_heard(made.speaker, first), "it is not heard again")
        player.stop()
        play_whole(made.bed.guest, made.speaker, tmp_path)
        record_whole(made.bed.guest, tmp_path)
        told, true = delay_frames(made.bed, made.speaker, seconds=8.0)
        assert abs(told - true) <= TRUE_FRAMES, (told, true)


def test_the_last_sink_goes_and_comes_back_under_a_playing_stream(tmp_path: Path) -> None:
    with host(tmp_path) as made:
        player = Player(made.bed.guest, tmp_path)
        soon(lambda: player.is_heard(made.speaker, 0), "nothing is heard")
        made.pulse.pactl("unload-module", "module-alsa-sink")
        soon(lambda: "gave its stream up" in made.bed.log("backend"), "nobody noticed")
        assert "gave its stream up" in command(made.bed, 0, "status")
        first = made.speaker.frames
        time.sleep(2)  # it is tried again, and told of once
        made.pulse.pactl("load-module", *SINK_MODULE.format("speaker").split())
        soon(lambda: player.is_heard(made.speaker, first), "it is not heard again")
        player.stop()
        soon(lambda: "gave its" not in command(made.bed, 0, "status"), "it is still complained of")
        lines = [line for line in made.bed.log("backend").splitlines() if "gave its" in line]
        assert len(lines) <= 2, lines


def volume(made: Host) -> str:
    (found,) = re.findall(r"^\s*Volume: front-left: \d+ /\s*(\d+)%", inputs(made), re.M)
    return str(found)


def test_volume_and_mute_are_the_servers_both_ways(tmp_path: Path) -> None:
    with host(tmp_path) as made:
        player = Player(made.bed.guest, tmp_path)
        soon(lambda: player.is_heard(made.speaker, 0), "nothing is heard")
        run_client(made.bed.guest, "pactl", "set-sink-volume", SINK, "50%")
        soon(lambda: volume(made) == "50", "the guest's volume does not arrive")
        (number,) = re.findall(r"^Sink Input #(\d+)", inputs(made), re.M)
        made.pulse.pactl("set-sink-input-volume", number, "30%")

        def guest_has(what: str) -> bool:
            told = run_client(made.bed.guest, "pactl", "get-sink-volume", SINK)
            return what in told

        soon(lambda: guest_has("30%"), "the host's volume does not arrive")
        command(made.bed, 0, "mute", "demo-guest")
        soon(lambda: "Mute: yes" in inputs(made), "it is not muted")
        assert "muted on the host" in command(made.bed, 0, "status")
        command(made.bed, 0, "unmute", "demo-guest")
        soon(lambda: "Mute: no" in inputs(made), "it is not unmuted")
        player.stop()


WISH = {**card_nodes(formats=["s16_le"]), "0/0/unique-id": "pulse<other>media.role:music"}


@pytest.mark.parametrize(
    ("targets", "goes"), [('["other"]', "other"), ('["*"]', "speaker"), ("[]", "speaker")]
)
def test_only_a_sink_that_the_policy_names_can_be_chosen(
    targets: str, goes: str, tmp_path: Path
) -> None:
    with host(tmp_path, f'targets = {targets}\nroles = ["music"]\n', nodes=WISH) as made:
        chosen = {"other": made.other, "speaker": made.speaker}[goes]
        play_whole(made.bed.guest, chosen, tmp_path)
        assert 'media.role = "music"' in inputs(made)


def sides(samples: array[float], side: int) -> array[float]:
    """Only that channel sounds."""
    one = array("f", bytes(4 * len(samples)))
    one[side::2] = samples[side::2]
    return one


def test_two_guests_play_at_once(tmp_path: Path) -> None:
    """One on the left, one on the right: the server mixes, and each is whole."""
    with host(tmp_path) as made:
        second = made.bed.add_guest(2, "second", card_nodes(formats=["s16_le"]))
        soon(lambda: "Xen PV Audio" in run_client(second.session, "pactl", "list", "sinks"), "no")
        guests = [made.bed.guest, second.session]
        samples = [sides(noise(RATE * 2, 2, seed=seed), seed) for seed in (0, 1)]
        files = [
            write_noise(tmp_path / f"{number}.wav", each, 2) for number, each in enumerate(samples)
        ]

        def attempt(side: int, first: int) -> Comparison:
            played = array("f", made.speaker.data(first))
            return heard_of(samples[side], sides(played, side))

        first = made.speaker.frames
        players = [
            guest.popen(["pw-play", "--target", SINK, str(file)])
            for guest, file in zip(guests, files, strict=True)
        ]

        def both() -> bool:
            names = re.findall(r'application\.name = "(.*)"', inputs(made))
            return {"demo-guest", "second"} <= set(names)

        soon(both, "they do not play at once")
        for player in players:
            assert player.wait(30) == 0
        time.sleep(1)  # what is on its way is heard
        for side in (0, 1):
            until_whole(lambda side=side: attempt(side, first), attempts=1)  # type: ignore[misc]


def heard_of(sent: array[float], played: array[float]) -> Comparison:
    from xenpvaudio.sound.compare import compare

    return compare(sent.tobytes(), played.tobytes(), 8, bytes(8))
