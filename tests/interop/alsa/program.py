"""An ALSA program by ctypes, in a process of its own: plays and records at once and prints what it
was told.

    program.py DEVICE PERIOD_FRAMES BUFFER_FRAMES SECONDS
    program.py DEVICE PERIOD_FRAMES 0 SECONDS               only records

One line of JSON: `played` and `captured`, hexadecimal samples (s16, 2 channels); `heard` and
`said`, lists of [frame, nsec]: when a frame is heard, or was said into the microphone, as
snd_pcm_delay() told; `heard_asked` and `said_asked`, nsec: when it was; `xruns`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import sys
import threading
import time
from array import array

PLAYBACK, CAPTURE = 0, 1
S16_LE, RW_INTERLEAVED = 2, 3
EPIPE = 32
RATE, CHANNELS, FRAME_BYTES = 48000, 2, 4

asound = ctypes.CDLL("libasound.so.2")
asound.snd_strerror.restype = ctypes.c_char_p
for name in ("writei", "readi"):
    getattr(asound, f"snd_pcm_{name}").restype = ctypes.c_long


def check(result: int, what: str) -> int:
    if result < 0:
        sys.exit(f"{what}: {asound.snd_strerror(result).decode()}")
    return result


class Pcm:
    """Open and prepared."""

    def __init__(self, device: str, stream: int, period_frames: int, buffer_frames: int) -> None:
        self.pcm, params = ctypes.c_void_p(), ctypes.c_void_p()
        check(asound.snd_pcm_open(ctypes.byref(self.pcm), device.encode(), stream, 0), "open")
        asound.snd_pcm_hw_params_malloc(ctypes.byref(params))
        check(asound.snd_pcm_hw_params_any(self.pcm, params), "any")
        for name, value in (
            ("access", RW_INTERLEAVED),
            ("format", S16_LE),
            ("channels", CHANNELS),
        ):
            check(getattr(asound, f"snd_pcm_hw_params_set_{name}")(self.pcm, params, value), name)
        for name, value in (
            ("rate", RATE),
            ("period_size", period_frames),
        ):
            function = getattr(asound, f"snd_pcm_hw_params_set_{name}")
            check(function(self.pcm, params, ctypes.c_ulong(value), 0), name)
        size = ctypes.c_ulong(buffer_frames)
        check(asound.snd_pcm_hw_params_set_buffer_size(self.pcm, params, size), "buffer_size")
        check(asound.snd_pcm_hw_params(self.pcm, params), "hw_params")
        if stream == PLAYBACK:
            self._start_when_full(buffer_frames)
        self.xruns = 0

    def _start_when_full(self, buffer_frames: int) -> None:
        params = ctypes.c_void_p()
        asound.snd_pcm_sw_params_malloc(ctypes.byref(params))
        check(asound.snd_pcm_sw_params_current(self.pcm, params), "current")
        threshold = ctypes.c_ulong(buffer_frames)
        asound.snd_pcm_sw_params_set_start_threshold(self.pcm, params, threshold)
        check(asound.snd_pcm_sw_params(self.pcm, params), "sw_params")

    def call(self, name: str) -> int:
        return check(getattr(asound, f"snd_pcm_{name}")(self.pcm), name)

    def delay(self) -> tuple[int, int]:
        """Frames, and when that was asked, nsec; 0 frames in an xrun."""
        frames = ctypes.c_long()
        before = time.monotonic_ns()
        done = asound.snd_pcm_delay(self.pcm, ctypes.byref(frames))
        if done != -EPIPE:
            check(done, "delay")
        return frames.value, (before + time.monotonic_ns()) // 2

    def write(self, data: bytes) -> None:
        done = asound.snd_pcm_writei(self.pcm, data, ctypes.c_ulong(len(data) // FRAME_BYTES))
        if done == -EPIPE:
            self.xruns += 1
            self.call("prepare")
        else:
            check(done, "write")

    def read(self, frames: int) -> bytes:
        buffer = ctypes.create_string_buffer(frames * FRAME_BYTES)
        done = asound.snd_pcm_readi(self.pcm, buffer, ctypes.c_ulong(frames))
        if done == -EPIPE:
            self.xruns += 1
            self.call("prepare")
            return b""
        return buffer.raw[: check(done, "read") * FRAME_BYTES]


def noise(frames: int) -> bytes:
    source = random.Random(5)
    values = source.choices(range(-16000, 16000), k=frames * CHANNELS)
    return array("h", [value + (value >= 0) for value in values]).tobytes()


class Recording:
    """What comes from a device, and when it was said."""

    def __init__(self, device: str, period_frames: int) -> None:
        self.pcm = Pcm(device, CAPTURE, period_frames, 16384)
        self.captured = bytearray()
        self.said: list[tuple[int, int]] = []
        self.asked: list[int] = []
        self._period_frames = period_frames
        self.pcm.call("start")

    def step(self) -> None:
        self.captured += self.pcm.read(self._period_frames)
        delay, now = self.pcm.delay()
        frame = len(self.captured) // FRAME_BYTES
        self.said.append((frame, now - delay * 1_000_000_000 // RATE))
        self.asked.append(now)


def record(device: str, period: int, seconds: float) -> None:
    into = Recording(device, period)
    while len(into.captured) < seconds * RATE * FRAME_BYTES:
        into.step()
    result = {"captured": into.captured.hex(), "said": into.said, "said_asked": into.asked}
    print(json.dumps(result))


def main() -> None:
    with contextlib.suppress(OSError):  # as programs with short periods do
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
    device, period, buffer, seconds = sys.argv[1], *map(int, sys.argv[2:4]), float(sys.argv[4])
    if buffer == 0:
        record(device, period, seconds)
        return
    total = int(seconds * RATE) // period * period
    sound = noise(total)
    out = Pcm(device, PLAYBACK, period, buffer)
    into = Recording(device, period)
    heard: list[tuple[int, int]] = []
    asked: list[int] = []
    playing = True

    def play() -> None:
        nonlocal playing
        for frame in range(0, total, period):
            out.write(sound[frame * FRAME_BYTES : (frame + period) * FRAME_BYTES])
            delay, now = out.delay()
            heard.append((frame + period, now + delay * 1_000_000_000 // RATE))
            asked.append(now)
        out.call("drain")
        playing = False

    thread = threading.Thread(target=play)
    thread.start()
    while playing:
        into.step()
    for _ in range(RATE // 2 // period + 1):
        into.step()
    thread.join()
    result = {
        "played": sound.hex(),
        "captured": into.captured.hex(),
        "heard": heard,
        "heard_asked": asked,
        "said": into.said,
        "said_asked": into.asked,
        "xruns": [out.xruns, into.pcm.xruns],
    }
    print(json.dumps(result))
    out.call("close")
    into.pcm.call("close")


if __name__ == "__main__":
    main()
