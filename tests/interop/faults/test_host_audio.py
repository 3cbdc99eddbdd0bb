"""The host's audio changes while a guest plays: another default sink, a headset that appears and
vanishes, a WirePlumber that is restarted. The guest's application plays on, what is lost is no more
than the time without a sink, and the delay that is told is true again.

A sink is a process of its own here, as a headset's or a sound card's is its session manager's: it
can be ended. Host's PipeWire as a whole: tests/faults/matrix.py.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.recovery import TRUE_FRAMES, settled_delay
from interop.sound import LIMIT_SEC, RATE, eventually, noise, run_client, write_noise
from xenpvaudio.sound.compare import Comparison, compare
from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.loudspeaker import Loudspeaker
from xenpvaudio.testbed.testbed import SINK, Testbed, card_nodes, find_node

FRAME_BYTES = 8
QUANTUM = 1024
SECONDS = 12
HEADSET = "headset"
# A program that is nothing but a sink; the fragment is what it plays to.
_PROGRAM = """
context.spa-libs = {
  audio.convert.* = audioconvert/libspa-audioconvert
  support.* = support/libspa-support
}
context.modules = [
  { name = libpipewire-module-rt args = { } flags = [ ifexists nofail ] }
  { name = libpipewire-module-protocol-native }
  { name = libpipewire-module-client-node }
  { name = libpipewire-module-adapter }
]
"""


class Sink:
    """A sink that a process brings to the host, and takes away when it ends."""

    def __init__(self, bed: Testbed, folder: Path, name: str, priority: int) -> None:
        self._bed = bed
        self.name = name
        self.speaker = Loudspeaker(folder / name, FRAME_BYTES, RATE)
        fragment = pwconf.pipe_sink(folder / name, name, description=name)
        fragment = fragment.replace(
            "media.class = Audio/Sink", f"media.class = Audio/Sink priority.session = {priority}"
        )
        self._file = folder / f"{name}.conf"
        modules = fragment.partition("context.modules = [")[2]
        self._file.write_text(_PROGRAM.rstrip().removesuffix("]") + modules)
        self._process: subprocess.Popen[Any] | None = None

    def plug(self) -> None:
        host = self._bed.host
        assert host is not None
        self._process = host.popen(["pipewire", "-c", str(self._file)])
        eventually(lambda: find_node(host, self.name), f"{self.name} does not appear")

    def unplug(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def bed() -> Iterator[Testbed]:
    nodes = card_nodes(formats=["s16_le"], capture=False)
    with Testbed(nodes, frontend_args=["--wait"], backend_args=["--wait"]) as made:
        made.wait_for_node()
        yield made


@contextmanager
def sink(bed: Testbed, folder: Path, priority: int) -> Iterator[Sink]:
    made = Sink(bed, folder, HEADSET, priority)
    try:
        yield made
    finally:
        made.unplug()
        made.speaker.stop()


def sounds(speaker: Loudspeaker, first: int) -> bool:
    return any(speaker.data(first).strip(b"\0"))


class Playing:
    """A guest's application that plays noise which never repeats, and where the host played it:
    the loudspeakers' frames, one stretch after the other."""

    def __init__(self, bed: Testbed, folder: Path) -> None:
        self._bed = bed
        self.samples = noise(SECONDS * RATE, 2)
        file = write_noise(folder / "noise.wav", self.samples, 2)
        self.node = (bed.node() or {}).get("object.serial")
        self._heard = bytearray()
        self._silent_frames = 0
        self._at: tuple[Loudspeaker, int] | None = None
        self._last_nsec: int | None = None
        self.process = bed.guest.popen(["pw-play", "--target", SINK, str(file)])

    def comes_from(self, speaker: Loudspeaker, first: int) -> None:
        """It is heard there now, from this frame on at the earliest, and no longer where it was."""
        eventually(lambda: sounds(speaker, first), "there is no sound")
        self._end_stretch(speaker, first)
        self._at = (speaker, first)

    def _end_stretch(self, other: Loudspeaker | None, other_first: int) -> None:
        if self._at is None:
            return
        speaker, first = self._at
        data = speaker.data(first)
        heard = data.rstrip(b"\0")
        frames = -(-len(heard) // FRAME_BYTES)
        self._heard += data[: frames * FRAME_BYTES]
        if other is None:
            return
        ended = speaker.played_nsec(first + frames)
        silence = len(d := other.data(other_first)) - len(d.lstrip(b"\0"))
        began = other.played_nsec(other_first + silence // FRAME_BYTES)
        assert ended is not None and began is not None
        self._silent_frames += max(0, round((began - ended) * RATE / 1e9))

    def end(self) -> tuple[Comparison, int]:
        """What arrived of it, and for how many frames no sink was there."""
        assert self.process.wait(LIMIT_SEC) == 0
        tail = self.samples[-128:].tobytes()
        assert self._at is not None
        speaker, first = self._at
        eventually(lambda: tail in speaker.data(first), "its end was not heard")
        self._end_stretch(None, 0)
        found = compare(self.samples.tobytes(), self._heard, FRAME_BYTES, bytes(FRAME_BYTES))
        return found, self._silent_frames

    def assert_survived(self) -> None:
        assert self.process.poll() is None
        assert (self._bed.node() or {}).get("object.serial") == self.node


def assert_no_more_lost_than_silent(playing: Playing, changes: int) -> None:
    """Each change takes along what the host had in its hands: a cycle in the stream, one in the
    sink, and one that is cut."""
    found, silent_frames = playing.end()
    assert (found.duplicated, found.reordered, found.corrupted) == (0, 0, 0), found
    assert found.lost <= silent_frames + changes * 3 * QUANTUM, (found, silent_frames)


def assert_true_delay(bed: Testbed, speaker: Loudspeaker) -> None:
    found = settled_delay(bed, speaker)
    assert found is not None, "no delay could be measured"
    told, true = found
    assert abs(told - true) <= TRUE_FRAMES, f"{told:.0f} frames are told, {true:.0f} are true"


def test_another_default_sink_takes_the_sound_over(bed: Testbed, tmp_path: Path) -> None:
    assert bed.host is not None and bed.loudspeaker is not None
    first = bed.loudspeaker
    with sink(bed, tmp_path, priority=1) as other:
        run_client(bed.host, "pactl", "set-default-sink", "recording-loudspeaker")
        other.plug()
        playing = Playing(bed, tmp_path)
        playing.comes_from(first, 0)
        for speaker, name in ((other.speaker, HEADSET), (first, "recording-loudspeaker")):
            time.sleep(1)
            begin = speaker.frames
            run_client(bed.host, "pactl", "set-default-sink", name)
            playing.comes_from(speaker, begin)
            playing.assert_survived()
        assert_no_more_lost_than_silent(playing, changes=2)
        assert_true_delay(bed, first)
        run_client(bed.host, "pactl", "set-default-sink", HEADSET)
        assert_true_delay(bed, other.speaker)


def test_a_headset_appears_and_vanishes(bed: Testbed, tmp_path: Path) -> None:
    """Nobody chose a default: the session manager prefers it for as long as it is there."""
    assert bed.loudspeaker is not None
    first = bed.loudspeaker
    with sink(bed, tmp_path, priority=3000) as headset:
        playing = Playing(bed, tmp_path)
        playing.comes_from(first, 0)
        time.sleep(1)
        begin = headset.speaker.frames
        headset.plug()
        playing.comes_from(headset.speaker, begin)
        playing.assert_survived()
        time.sleep(1)
        begin = first.frames
        headset.unplug()
        playing.comes_from(first, begin)
        playing.assert_survived()
        assert_no_more_lost_than_silent(playing, changes=2)
        assert_true_delay(bed, first)
        headset.plug()
        assert_true_delay(bed, headset.speaker)


def test_wireplumber_is_restarted_with_the_sink_that_it_made(bed: Testbed, tmp_path: Path) -> None:
    """A sound card's sink lives in WirePlumber: both go and come together. WirePlumber 0.4 links no
    stream that it finds at its start, so the guest's is made anew."""
    assert bed.host is not None
    anew = tmp_path / "anew"
    anew.mkdir()
    with sink(bed, tmp_path, priority=3000) as card, sink(bed, anew, priority=3000) as again:
        card.plug()
        playing = Playing(bed, tmp_path)
        playing.comes_from(card.speaker, 0)
        time.sleep(1)
        card.unplug()
        bed.host.restart("wireplumber")
        again.plug()
        playing.comes_from(again.speaker, 0)
        playing.assert_survived()
        assert_no_more_lost_than_silent(playing, changes=1)
        assert_true_delay(bed, again.speaker)
