"""A host with nothing but a sound device, by alsa-lib: each frame arrives once and in order, both
ways, what is told of time is true, and a device that is in use is said to be."""

from __future__ import annotations

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
from interop.outputs.speaker import RATE, Speaker, configuration
from interop.sound import run_client
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

TRUE_FRAMES = RATE // 1000  # 1 ms


@dataclass
class Host:
    speaker: Speaker
    other: Speaker
    bed: Testbed
    environ: dict[str, str]


@contextmanager
def host(
    folder: Path,
    policy: str = "",
    *,
    device: str = "speaker",
    ppm: int = 0,
    drains: bool = False,
    nodes: dict[str, str] | None = None,
) -> Iterator[Host]:
    """A guest on a host with two sound cards, of which the policy names one."""
    speaker = Speaker(folder, ppm=ppm, heard=HEARD, drains=drains)
    other = Speaker(folder, name="other", heard=HEARD)
    environ = configuration(folder, speaker, other)
    file = folder / "backend.toml"
    file.write_text(f'[default]\noutput = "alsa:{device}"\n{policy}')
    with Testbed(
        nodes or card_nodes(formats=["float_le"], channels_min=2),
        host_environ=without_servers(environ),
        backend_args=["--policy", str(file)],
    ) as bed:
        bed.wait_for_node(SINK)
        bed.wait_for_node(SOURCE)
        yield Host(speaker, other, bed, environ)


def without_servers(environ: dict[str, str]) -> dict[str, str]:
    import os

    words = ("PULSE_", "PIPEWIRE_", "XDG_RUNTIME_DIR", "DBUS_")
    kept = {key: text for key, text in os.environ.items() if not key.startswith(words)}
    return {**kept, **environ}


MICROPHONE = "microphone = true\n"


def test_both_ways_are_whole(tmp_path: Path) -> None:
    with host(tmp_path, MICROPHONE) as made:
        play_whole(made.bed.guest, made.speaker, tmp_path)
        record_whole(made.bed.guest, tmp_path)
        for half in ("backend", "frontend"):
            lines = made.bed.log(half).splitlines()
            assert [line for line in lines if not line.startswith("xen-pv-audio: ")] == []


def test_alsa_lib_converts_where_the_device_is_asked_to(tmp_path: Path) -> None:
    nodes = card_nodes(formats=["s16_le"])
    with host(tmp_path, MICROPHONE, device="plug:speaker", nodes=nodes) as made:
        play_whole(made.bed.guest, made.speaker, tmp_path)
        record_whole(made.bed.guest, tmp_path)


def test_what_a_device_has_while_it_does_not_run_is_recorded(tmp_path: Path) -> None:
    with host(tmp_path, MICROPHONE, drains=True) as made:
        record_whole(made.bed.guest, tmp_path)


@pytest.mark.parametrize("ppm", [0, 150])
def test_what_is_told_of_time_is_true(ppm: int, tmp_path: Path) -> None:
    with host(tmp_path, MICROPHONE, ppm=ppm) as made:
        told, true = delay_frames(made.bed, made.speaker, seconds=8.0)
        captured = capture_error_frames(made.bed, made.speaker, tmp_path)
        print(f"{ppm} ppm: told {told:.1f}, true {true:.1f}; capture off by {captured:.1f} frames")
        assert abs(told - true) <= TRUE_FRAMES
        assert abs(captured) <= TRUE_FRAMES


def test_without_leave_the_microphone_is_not_opened(tmp_path: Path) -> None:
    with host(tmp_path) as made:
        assert records_silence(made.bed.guest, tmp_path)
        assert not (made.speaker.folder / "capture-starts").exists()
        command(made.bed, 0, "mic", "allow", "demo-guest")
        record_whole(made.bed.guest, tmp_path)


def test_what_the_host_mutes_is_silence(tmp_path: Path) -> None:
    """Though it mixes nothing: the guest makes its own volume."""
    with host(tmp_path) as made:
        player = Player(made.bed.guest, tmp_path)
        soon(lambda: player.is_heard(made.speaker, 0), "nothing is heard")
        run_client(made.bed.guest, "pactl", "set-sink-volume", SINK, "50%")
        command(made.bed, 0, "mute", "demo-guest")

        def silent() -> bool:
            last = made.speaker.data(made.speaker.frames - RATE // 4)
            return len(last) > 0 and not last.strip(b"\0")

        soon(silent, "it is not muted")
        assert "muted on the host" in command(made.bed, 0, "status")
        first = made.speaker.frames
        command(made.bed, 0, "unmute", "demo-guest")
        soon(lambda: player.is_heard(made.speaker, first), "it is not heard again")
        player.stop()


def test_a_device_that_is_in_use_is_told_and_taken_when_it_is_free(tmp_path: Path) -> None:
    with host(tmp_path) as made:
        second = made.bed.add_guest(
            2, "second", card_nodes(formats=["float_le"], channels_min=2, capture=False)
        )
        soon(lambda: "Xen PV Audio" in run_client(second.session, "pactl", "list", "sinks"), "no")
        first_player = Player(made.bed.guest, tmp_path)
        soon(lambda: first_player.is_heard(made.speaker, 0), "nothing is heard")
        (tmp_path / "second").mkdir()
        second_player = Player(second.session, tmp_path / "second")
        line = "speaker is in use (a dmix or dsnoop device can be shared)"
        soon(lambda: line in made.bed.log("backend"), "nobody says that it is in use")
        assert line in command(made.bed, 0, "status")
        first_player.stop()
        soon(lambda: line not in command(made.bed, 0, "status"), "it is not taken")
        second_player.stop()
        assert made.bed.log("backend").count(line) == 1


@pytest.mark.parametrize(
    ("device", "nodes", "line"),
    [
        ("nosuch", card_nodes(), "nosuch cannot be opened: "),
        ("speaker", card_nodes(formats=["s16_le"]), "speaker does not take the card's sample fo"),
        (
            "speaker",
            card_nodes(formats=["float_le"], rates=[44100]),
            "speaker does not take 44100 Hz (a plughw: device converts)",
        ),
    ],
)
def test_a_device_that_is_refused_is_one_line(
    device: str, nodes: dict[str, str], line: str, tmp_path: Path
) -> None:
    with host(tmp_path, device=device, nodes=nodes) as made:
        player = Player(made.bed.guest, tmp_path)
        soon(lambda: line in made.bed.log("backend"), "nobody says what is wrong")
        player.stop()
        assert made.bed.log("backend").count(line) == 1
        lines = made.bed.log("backend").splitlines()
        assert [each for each in lines if not each.startswith("xen-pv-audio: ")] == []


WISH = {**card_nodes(formats=["float_le"], channels_min=2), "0/0/unique-id": "alsa<other>"}


@pytest.mark.parametrize(
    ("targets", "goes"), [('["other"]', "other"), ('["*"]', "speaker"), ("[]", "speaker")]
)
def test_only_a_device_that_the_policy_names_can_be_chosen(
    targets: str, goes: str, tmp_path: Path
) -> None:
    with host(tmp_path, f"targets = {targets}\n", nodes=WISH) as made:
        chosen = {"other": made.other, "speaker": made.speaker}[goes]
        play_whole(made.bed.guest, chosen, tmp_path)
