"""to_float32() against the real thing: a WAV file through pw-play into a sink that takes F32."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from xenpvaudio.sound.compare import compare
from xenpvaudio.sound.wav import read_wav, to_float32, write_wav
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio_native.pipewire import library_version

QUANTUM = 256
# Whole quanta: pw-play 0.3.65 never sends what is left of its last one.
FRAMES = 32 * QUANTUM

F_SETPIPE_SZ = 1031

HostFactory = Callable[..., PipeWireSession]


class Recording(threading.Thread):
    """What arrives in a FIFO, until stopped. It is open when the constructor returns."""

    def __init__(self, fifo: Path) -> None:
        super().__init__(daemon=True)
        self._fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, F_SETPIPE_SZ, 1 << 20)
        self._stopping = threading.Event()
        self.data = bytearray()
        self.start()

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while not self._stopping.is_set():
            if poll.poll(50):
                self.data += os.read(self._fd, 1 << 20)
        os.close(self._fd)

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def samples(encoding: str, *, within: bool = False) -> bytes:
    """Stereo; edge values first, then what chance gives, no frame silent. `within`: none that is
    too loud or too soft for a graph (SECURITY.md), which a half would not pass as it is."""
    chance = random.Random(1)
    count = 2 * FRAMES
    if encoding == "u8":
        return bytes(chance.choice([*range(128), *range(129, 256)]) for _ in range(count))
    if encoding in ("f32", "f64"):
        edges = [1.0, -1.0, 1.5, -3.25, 1e30, 1e-30, 1e-40, -0.0, 1 / 3, 0.1, 1e39, 1e-50]
        edges = edges[: 12 if encoding == "f64" else 10]
        if within:
            edges = [edge for edge in edges if edge == 0 or 2**-64 <= abs(edge) <= 16]
        values = edges + [chance.uniform(-2, 2) for _ in range(count - len(edges))]
        return struct.pack(f"<{count}{'f' if encoding == 'f32' else 'd'}", *values)
    bits = int(encoding[1:])
    top = 1 << (bits - 1)
    whole = [-top, 1 - top, top - 1, top - 2, 1, -1, 2, -2]
    if bits == 32:
        # Around each way to round to 24 bits, to integers and to floats.
        whole += [
            sign * (base + low)
            for sign in (1, -1)
            for base in (0x100, 1 << 24, 1 << 25, 1 << 30)
            for low in (1, 2, 3, 63, 64, 65, 127, 128, 129, 191, 255, 256, 257)
        ]
    while len(whole) < count:
        # Loud and soft ones.
        limit = top >> chance.randrange(bits - 8)
        whole.append(chance.randrange(1, limit) * chance.choice((1, -1)))
    size = bits // 8
    return b"".join(value.to_bytes(size, "little", signed=True) for value in whole)


def play(host: PipeWireSession, path: Path) -> None:
    """pw-play, as soon as the session manager has found the sink: it never waits for one. Begun
    anew if it does not end: once in a hundred times the session manager gives it no link."""
    show = ["pw-metadata", "-n", "default", "0", "default.audio.sink"]
    deadline = time.monotonic() + 20
    while b"recording-loudspeaker" not in host.run(show, capture_output=True).stdout:
        assert time.monotonic() < deadline, "the session manager finds no sink"
        time.sleep(0.02)
    for _ in range(3):
        with contextlib.suppress(subprocess.TimeoutExpired):
            host.run(["pw-play", str(path)], timeout=20)
            return
    pytest.fail("pw-play does not end")


@pytest.mark.parametrize("encoding", ["u8", "s16", "s24", "s32", "f32", "f64"])
def test_pipewire_makes_the_same_floats(
    encoding: str, host_session: HostFactory, tmp_path: Path
) -> None:
    fifo = tmp_path / "heard"
    os.mkfifo(fifo)
    path = tmp_path / "edges.wav"
    write_wav(path, 48000, 2, encoding, samples(encoding))
    sent = to_float32(read_wav(path), library_version())
    assert any(math.isinf(value) for value in sent) == (encoding == "f64")
    host = host_session(fifo=fifo, quantum=QUANTUM, max_quantum=QUANTUM, pulse=False)
    recording = Recording(fifo)
    try:
        play(host, path)
        # No requirement, only a bound for a test that fails.
        deadline = time.monotonic() + 20
        last = struct.pack("<2f", *sent[-2:])
        while last not in recording.data and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        recording.stop()
    result = compare(array("f", sent).tobytes(), recording.data, 8, bytes(8))
    assert result.bit_exact, result
    assert result.matched == FRAMES


@pytest.mark.parametrize("encoding", ["s24", "s32", "f64"])
def test_the_demo_s_card_holds_what_the_file_does(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "edges.wav"
    write_wav(path, 48000, 2, encoding, samples(encoding, within=True))
    command = [sys.executable, "-m", "xenpvaudio", "demo", "--private", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["bit_exact"], done.stdout + done.stderr
