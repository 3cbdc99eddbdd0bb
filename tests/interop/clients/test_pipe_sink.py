"""The loudspeaker that records: what real players give it arrives in the FIFO, each frame once.

The end-to-end tests measure the bridge with it, so it is measured itself first.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time
import wave
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from xenpvaudio.testbed.session import PipeWireSession

RATE = 48000
QUANTUM = 256
# Whole quanta: pw-play 0.3.65 never sends what is left of its last one, to any sink.
FRAMES = 375 * QUANTUM
F_SETPIPE_SZ = 1031

HostFactory = Callable[..., PipeWireSession]


class Recorder(threading.Thread):
    """Drains a FIFO until closed."""

    def __init__(self, fifo: Path) -> None:
        super().__init__(daemon=True)
        # A writer of our own: then there is no end of file before PipeWire opens it.
        self._fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, F_SETPIPE_SZ, 1 << 20)
        self._closing = threading.Event()
        self.data = bytearray()
        self.start()

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while not self._closing.is_set():
            if poll.poll(100):
                self.data += os.read(self._fd, 1 << 20)

    def frames(self, count: int) -> list[int]:
        """The numbers of the frames that came, silence aside, as soon as `count` of them are there.

        The time is no requirement, only a bound for a test that fails.
        """
        deadline = time.monotonic() + 20
        while len(found := decode(bytes(self.data))) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def close(self) -> None:
        self._closing.set()
        self.join()
        os.close(self._fd)


def numbered(count: int) -> array[int]:
    """Stereo S16: frame n = 1 .. count has its low 15 bits on the left, the others on the right."""
    pairs = (((n & 0x7FFF) - 0x4000, (n >> 15) + 1) for n in range(1, count + 1))
    return array("h", [sample for pair in pairs for sample in pair])


def decode(data: bytes) -> list[int]:
    """The numbers back from stereo F32; what is no exact 16-bit sample becomes -1."""
    samples = array("f", data[: len(data) // 8 * 8])
    found = []
    for left, right in zip(samples[0::2], samples[1::2], strict=True):
        if left or right:
            exact = (left * 32768).is_integer() and (right * 32768).is_integer()
            number = ((int(right * 32768) - 1) << 15) | (int(left * 32768) + 0x4000)
            found.append(number if exact else -1)
    return found


def write_wav(path: Path, count: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(numbered(count).tobytes())


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "heard"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    "player", [("pw-play",), ("paplay",), ("aplay", "-q", "-D", "pipewire")], ids=lambda p: p[0]
)
def test_pipe_sink_gets_every_frame_once_and_in_order(
    player: tuple[str, ...], host_session: HostFactory, fifo: Path, tmp_path: Path
) -> None:
    host = host_session(fifo=fifo, quantum=QUANTUM, max_quantum=QUANTUM)
    write_wav(tmp_path / "numbered.wav", FRAMES)
    recorder = Recorder(fifo)
    try:
        host.run([*player, str(tmp_path / "numbered.wav")], timeout=60)
        assert recorder.frames(FRAMES) == list(range(1, FRAMES + 1))
    finally:
        recorder.close()
