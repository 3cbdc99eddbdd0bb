"""What a guest's programs play and record, against what a test's sound card heard and gave."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from interop.outputs.speaker import FRAME_BYTES, RATE, Speaker
from interop.sound import (
    Recording,
    eventually,
    noise,
    run_client,
    until_whole,
    write_noise,
)
from xenpvaudio.sound.compare import Comparison, compare
from xenpvaudio.testbed.noise_player import noise as quiet_noise
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed

FRAMES = RATE * 3 // 2
HEARD = noise(RATE * 20, 2, seed=7)
"""What is at the microphone, over and over."""
SILENCE = bytes(FRAME_BYTES)
SURE_FRAMES = 64
RECORD_SEC = 1.2


def heard(speaker: Speaker, first: int, samples: array[float]) -> Comparison:
    """What of them the speaker played from that frame on."""
    tail = samples[-2 * SURE_FRAMES :].tobytes()
    deadline = time.monotonic() + 10
    while tail not in speaker.data(first) and time.monotonic() < deadline:
        time.sleep(0.05)
    return compare(samples.tobytes(), speaker.data(first), FRAME_BYTES, SILENCE)


def play_whole(
    session: PipeWireSession, speaker: Speaker, folder: Path, *, target: str = SINK
) -> None:
    """Every frame of what pw-play plays there comes out, once and in order."""
    samples = noise(FRAMES, 2)
    file = write_noise(folder / "noise.wav", samples, 2)

    def attempt() -> Comparison:
        soon(lambda: is_quiet(speaker), "what played before goes on")
        first = speaker.frames
        run_client(session, "pw-play", "--target", target, str(file))
        return heard(speaker, first, samples)

    until_whole(attempt)


def is_quiet(speaker: Speaker) -> bool:
    """Nothing is left in a server's buffers of a program that has ended."""
    first = speaker.frames
    time.sleep(0.3)
    return not any(speaker.data(first).strip(b"\0"))


def frames_of(data: bytes) -> bytes:
    """Without the silence before and after."""
    while data[:FRAME_BYTES] == SILENCE:
        data = data[FRAME_BYTES:]
    end = len(data)
    while end and data[end - FRAME_BYTES : end] == SILENCE:
        end -= FRAME_BYTES
    return data[:end]


def place_in_heard(data: bytes) -> int:
    """The frame of the microphone's that `data` begins with; -1: it has no such."""
    at = (HEARD.tobytes() * 2).find(data[: SURE_FRAMES * FRAME_BYTES])
    return at // FRAME_BYTES if at % FRAME_BYTES == 0 else -1


def record_whole(session: PipeWireSession, folder: Path, *, source: str = SOURCE) -> None:
    """What pw-record records there is what was at the microphone, frame by frame."""

    def attempt() -> Comparison:
        recording = Recording(session, source, folder / "recorded.wav")
        time.sleep(RECORD_SEC)
        return recorded(recording.stop().tobytes())

    until_whole(attempt)


def recorded(data: bytes) -> Comparison:
    """What a program has recorded, against what was at the microphone meanwhile."""
    data = frames_of(data)
    assert len(data) > RATE * FRAME_BYTES // 2, "it recorded nothing"
    at, end = place_in_heard(data), place_in_heard(data[-SURE_FRAMES * FRAME_BYTES :])
    assert at >= 0 and end >= 0, "it is not what was at the microphone"
    end += SURE_FRAMES + (len(HEARD) // 2 if end < at else 0)
    sent = (HEARD.tobytes() * 2)[at * FRAME_BYTES : end * FRAME_BYTES]
    return compare(sent, data, FRAME_BYTES, SILENCE)


def records_silence(session: PipeWireSession, folder: Path, *, source: str = SOURCE) -> bool:
    recording = Recording(session, source, folder / "silent.wav")
    time.sleep(RECORD_SEC)
    data = recording.stop().tobytes()
    assert data
    return not data.strip(b"\0")


def delay_frames(bed: Testbed, speaker: Speaker, seconds: float = 5.0) -> tuple[float, float]:
    """The delay that a program is told, and the true one, as medians over the second half of what
    it plays, in frames. Each mark's frame is looked for by itself: gaps of a machine that stalls
    move what comes after them, and not the median."""
    frames = round(seconds * RATE)
    first = speaker.frames
    words = ["--target", SINK, "--frames", str(frames)]
    done = bed.guest.run(
        [sys.executable, "-m", "xenpvaudio.testbed.noise_player", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    time.sleep(0.3)
    marks: list[list[int]] = json.loads(done.stdout)["marks"]
    times = played_times(marks, quiet_noise(frames, 2).tobytes(), speaker, first)
    told = [(told_nsec - now_nsec) * RATE / 1e9 for now_nsec, told_nsec, _ in times]
    true = [(true_nsec - now_nsec) * RATE / 1e9 for now_nsec, _, true_nsec in times]
    return statistics.median(told), statistics.median(true)


Times = list[tuple[int, int, float]]
"""When a program asked, when it was told that a frame is heard (or was said), and when it was."""


def played_times(marks: list[list[int]], sent: bytes, speaker: Speaker, first: int) -> Times:
    """Of the second half of `marks`, [frame of `sent`, now, told], in nsec; `sent` was played from
    the speaker's frame `first` on."""
    played, times = speaker.data(first), []
    for frame, now_nsec, told_nsec in marks[len(marks) // 2 :]:
        piece = sent[frame * FRAME_BYTES :][: SURE_FRAMES * FRAME_BYTES]
        at = played.find(piece)
        played_nsec = speaker.played_nsec(first + at // FRAME_BYTES) if piece and at >= 0 else None
        if played_nsec is not None:
            times.append((now_nsec, told_nsec, float(played_nsec)))
    assert len(times) > 20, "too little was heard"
    return times


def capture_error_frames(bed: Testbed, speaker: Speaker, folder: Path) -> float:
    """By how much a program that records is told wrongly when a frame was at the microphone: the
    median, in frames."""
    file = folder / "captured.f32"
    words = ["--source", SOURCE, "--frames", "0", "--capture-frames", str(3 * RATE)]
    words += ["--capture-file", str(file)]
    done = bed.guest.run(
        [sys.executable, "-m", "xenpvaudio.testbed.noise_player", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    marks: list[list[int]] = json.loads(done.stdout)["capture_marks"]
    times = captured_times(marks, file.read_bytes(), speaker)
    return statistics.median((told - true) * RATE / 1e9 for _, told, true in times)


def captured_times(marks: list[list[int]], data: bytes, speaker: Speaker) -> Times:
    """Of the second half of `marks`, [frame of `data`, now, told], in nsec."""
    times = []
    for frame, now_nsec, told_nsec in marks[len(marks) // 2 :]:
        at = place_in_heard(data[frame * FRAME_BYTES :])
        if at < 0:
            continue
        laps = len(HEARD) // 2
        true_nsec = min(
            (speaker.captured_nsec(at + lap * laps) for lap in range(20)),
            key=lambda nsec: abs(nsec - told_nsec),
        )
        times.append((now_nsec, told_nsec, true_nsec))
    assert len(times) > 20, "too little was recorded"
    return times


class Player:
    """A program of the guest's that plays on and on, whatever the host does."""

    def __init__(self, session: PipeWireSession, folder: Path, seconds: int = 60) -> None:
        file = write_noise(folder / "long.wav", noise(seconds * RATE, 2, seed=3), 2)
        self.process = session.popen(
            ["pw-play", "--target", SINK, str(file)], stderr=subprocess.DEVNULL
        )

    def is_heard(self, speaker: Speaker, first: int) -> bool:
        return any(speaker.data(first).strip(b"\0"))

    def stop(self) -> None:
        assert self.process.poll() is None, "the program has ended"
        self.process.kill()
        self.process.wait()


def soon(condition: Callable[[], bool], what: str) -> None:
    eventually(condition, what)
