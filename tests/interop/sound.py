"""Sound that can be recognised: noise that never repeats, as WAV files, and its way through a bed.

Every channel has a noise of its own and no sample is 0, so a lost, repeated, swapped or misplaced
frame shows, and silence that a stalled machine inserted can be told apart from it.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from array import array
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

from xenpvaudio.sndif.volume import to_linear, to_steps
from xenpvaudio.sound.compare import Comparison, compare
from xenpvaudio.sound.wav import read_wav, to_float32, write_wav
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import SINK, Testbed

RATE = 48000
# pw-play never sends what is left of its last quantum, to any sink.
PADDING_SEC = 0.25
# No requirement, only a bound for a test that fails.
LIMIT_SEC = 30.0
# The host's microphone: what a session manager would choose for a guest's stream.
MICROPHONE = """
context.objects = [
  { factory = adapter args = {
      factory.name = support.null-audio-sink
      node.name = microphone
      media.class = Audio/Source/Virtual
      audio.channels = 2
      audio.position = [ FL FR ]
      object.linger = true } }
]
"""


def noise(frames: int, channels: int, *, bits: int = 16, seed: int = 1) -> array[float]:
    """Interleaved float32 samples, exact in formats of `bits` bits, at most half of full scale."""
    source = random.Random(seed)
    half = 1 << (bits - 2)
    count = frames * channels
    scale = 1.0 / (2 * half)
    values = source.choices(range(-half, half), k=count)
    return array("f", [scale * (value + (value >= 0)) for value in values])


def write_noise(
    path: Path, samples: array[float], channels: int, *, rate: int = RATE, encoding: str = "s16"
) -> Path:
    """`samples` and a little silence as a WAV file."""
    full = {"s16": ("h", 32767 + 1), "s32": ("i", 1 << 31)}
    if encoding == "f32":
        data = samples.tobytes()
    else:
        code, scale = full[encoding]
        data = array(code, [round(sample * scale) for sample in samples]).tobytes()
    frame_bytes = len(data) * channels // len(samples)
    padding = bytes(int(PADDING_SEC * rate) * frame_bytes)
    write_wav(path, rate, channels, encoding, data + padding)
    return path


def eventually(condition: Callable[[], Any], what: str, limit_sec: float = LIMIT_SEC) -> Any:
    """The first true value of `condition()`; AssertionError that says `what` if there is none."""
    deadline = time.monotonic() + limit_sec
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return value


def heard(
    bed: Testbed, first_frame: int, samples: array[float], channels: int, *, tail_frames: int = 64
) -> Comparison:
    """What of `samples` the host's loudspeaker played from `first_frame` on: waits for the end of
    them, or until the loudspeaker has played long enough that they must be lost."""
    speaker = bed.loudspeaker
    assert speaker is not None
    sent = samples.tobytes()
    tail = sent[-tail_frames * 4 * channels :]
    deadline = time.monotonic() + 5
    while tail not in speaker.data(first_frame) and time.monotonic() < deadline:
        time.sleep(0.05)
    return compare(sent, speaker.data(first_frame), 4 * channels, bytes(4 * channels))


def at_volume(samples: array[float], linear: float) -> array[float]:
    """As the host's stream plays them when the guest's card has that volume: sndif carries it in
    steps of 0.001 dB, and PipeWire multiplies by it once."""
    (volume,) = array("f", [to_linear(to_steps(linear))])
    return array("f", [sample * volume for sample in samples])


def assert_whole(result: Comparison) -> None:
    """Every frame once, in order, bit by bit; silence may stand between."""
    assert result.bit_exact, result


def until_lost(attempt: Callable[[], Comparison], frames: Set[int], attempts: int = 3) -> int:
    """How many of `frames` were lost. For sound that passes a host's graph: when this machine
    stalls there, PipeWire itself drops a cycle, and another attempt is fair. Frames that come
    twice, moved or altered never are."""
    for left in reversed(range(attempts)):
        result = attempt()
        assert (result.duplicated, result.reordered, result.corrupted) == (0, 0, 0), result
        if result.lost in frames:
            return result.lost
        assert left, result
    raise AssertionError


def until_whole(attempt: Callable[[], Comparison], attempts: int = 3) -> None:
    until_lost(attempt, {0}, attempts)


def run_client(session: PipeWireSession, *command: str, sec: float = LIMIT_SEC) -> str:
    """Runs a client to its end; its output is in the AssertionError if it fails."""
    done = session.run(
        list(command),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=sec,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return str(done.stdout)


def play_and_hear(
    bed: Testbed, file: Path, samples: array[float], channels: int, *, target: str = SINK
) -> None:
    """Plays `file`, made of `samples`, until the loudspeaker has played all of them."""

    def attempt() -> Comparison:
        return heard(bed, play(bed, file, target=target), samples, channels)

    until_whole(attempt)


def play(bed: Testbed, file: Path, *options: str, target: str = SINK) -> int:
    """Plays with the real pw-play; the loudspeaker's frame number when it began."""
    assert bed.loudspeaker is not None
    first = bed.loudspeaker.frames
    run_client(bed.guest, "pw-play", "--target", target, *options, str(file))
    return first


class Recording:
    """What a real pw-record takes from a source; stop() gives its samples."""

    def __init__(self, session: PipeWireSession, target: str, path: Path, *options: str) -> None:
        self._path = path
        form = ["--rate", str(RATE), "--format", "f32", "--channels", "2", "--latency", "1024"]
        self._process = session.popen(
            ["pw-record", "--target", target, *form, *options, str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> array[float]:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(LIMIT_SEC)  # its status tells of the signal
        return to_float32(read_wav(self._path))
