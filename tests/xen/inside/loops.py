"""In a guest: plays and captures at once by libasound, through the host's loopback, and compares.

loops.py formats DEVICE FORMAT...     each at 48000 Hz; names as aplay has them
loops.py rates DEVICE RATE...         each in S16_LE
loops.py refused DEVICE FORMAT...     formats that the device must not take
loops.py together DEVICE...           a second of sound on every device at the same time

One line each, "WHAT: N bytes equal"; status 1 if one is not. A guest that was late (an xrun) proves
nothing and tries again: its half second of buffer is the machine's to lose.
"""

from __future__ import annotations

import ctypes
import errno
import random
import struct
import sys
import time
from collections.abc import Callable
from functools import partial

from alsa import asound, check

PLAYBACK, CAPTURE, RW_INTERLEAVED = 0, 1, 3
CHANNELS = 2
LATENCY_USEC = 500_000
LIMIT_SEC = 20.0
ATTEMPTS = 5


class Late(Exception):
    """An xrun."""


def unless_late(result: int, what: str) -> int:
    if result == -errno.EPIPE:
        raise Late(what)
    return check(result, what)


class Pcm:
    """One open device; `frame_bytes` of its format."""

    def __init__(self, device: str, direction: int, fmt: str, rate: int) -> None:
        self._pcm = ctypes.c_void_p()
        opened = asound.snd_pcm_open(ctypes.byref(self._pcm), device.encode(), direction, 0)
        check(opened, f"open {device}")
        number = asound.snd_pcm_format_value(fmt.encode())
        check(number, f"format {fmt}")
        self.frame_bytes = asound.snd_pcm_format_physical_width(number) // 8 * CHANNELS
        self.refusal = asound.snd_pcm_set_params(
            self._pcm, number, RW_INTERLEAVED, CHANNELS, rate, 0, LATENCY_USEC
        )
        self.buffer_frames = self.period_frames = 0
        if self.refusal == 0:
            buffer, period = ctypes.c_ulong(), ctypes.c_ulong()
            asound.snd_pcm_get_params(self._pcm, ctypes.byref(buffer), ctypes.byref(period))
            self.buffer_frames, self.period_frames = buffer.value, period.value

    def call(self, name: str) -> None:
        check(asound["snd_pcm_" + name](self._pcm), name)

    def write(self, data: bytes) -> None:
        frames = len(data) // self.frame_bytes
        wrote = asound.snd_pcm_writei(self._pcm, data, ctypes.c_ulong(frames))
        unless_late(wrote, "write")
        if wrote != frames:
            sys.exit(f"only {wrote} of {frames} frames fit")

    def read(self, frames: int) -> bytes:
        target = ctypes.create_string_buffer(frames * self.frame_bytes)
        got = asound.snd_pcm_readi(self._pcm, target, ctypes.c_ulong(frames))
        unless_late(got, "read")
        return target.raw[: got * self.frame_bytes]

    def close(self) -> None:
        asound.snd_pcm_close(self._pcm)


def samples(source: random.Random, fmt: str, frames: int, frame_bytes: int) -> bytes:
    """Any bits; of floats those of sound, since the backend passes no others as they are."""
    if not fmt.startswith("FLOAT"):
        return source.randbytes(frames * frame_bytes)
    order, code = "<" if fmt.endswith("LE") else ">", "d" if "64" in fmt else "f"
    count = frames * CHANNELS
    return struct.pack(f"{order}{count}{code}", *(source.uniform(-2, 2) for _ in range(count)))


class Loop:
    """Sound on its way through one device; in no format two of its frames are the same."""

    def __init__(self, device: str, fmt: str, rate: int, seconds: float) -> None:
        self.capture = Pcm(device, CAPTURE, fmt, rate)
        self.playback = Pcm(device, PLAYBACK, fmt, rate)
        for pcm in (self.capture, self.playback):
            check(pcm.refusal, f"{fmt} {rate} Hz")
        frames = min(round(rate * seconds), self.playback.buffer_frames)
        source = random.Random(f"{device} {fmt} {rate}")
        self.data = samples(source, fmt, frames, self.playback.frame_bytes)
        self.heard = bytearray()

    def start(self) -> None:
        self.capture.call("start")
        self.playback.write(self.data)
        if asound.snd_pcm_state(self.playback._pcm) != 3:  # a full buffer has started it
            self.playback.call("start")

    def listen(self) -> bool:
        """True when all was heard."""
        self.heard += self.capture.read(self.capture.period_frames)
        return self.data in self.heard

    def end(self) -> None:
        for pcm in (self.playback, self.capture):
            pcm.call("drop")
            pcm.close()


def run(make: Callable[[], dict[str, Loop]]) -> bool:
    for left in reversed(range(ATTEMPTS)):
        loops = make()
        try:
            return once(loops)
        except Late as late:
            for loop in loops.values():
                loop.end()
            print(f"{', '.join(loops)}: an xrun, {late}", flush=True)
            if not left:
                return False
    raise AssertionError("the last attempt returns")


def once(loops: dict[str, Loop]) -> bool:
    for loop in loops.values():
        loop.start()
    end = time.monotonic() + LIMIT_SEC
    waiting = dict(loops)
    while waiting and time.monotonic() < end:
        waiting = {name: loop for name, loop in waiting.items() if not loop.listen()}
    for name, loop in loops.items():
        loop.end()
        if name in waiting:
            found = len(bytes(loop.heard).strip(b"\0"))
            print(f"{name}: {len(loop.data)} bytes played, {found} captured, not the same")
        else:
            print(f"{name}: {len(loop.data)} bytes equal")
    return not waiting


def looped(device: str, name: str, fmt: str, rate: int) -> dict[str, Loop]:
    return {name: Loop(device, fmt, rate, 0.1)}


def one_by_one(device: str, names: list[str], how: Callable[[str], tuple[str, int]]) -> bool:
    good = True
    for name in names:
        fmt, rate = how(name)
        good &= run(partial(looped, device, name, fmt, rate))
    return good


def refused(device: str, names: list[str]) -> bool:
    good = True
    for name in names:
        pcm = Pcm(device, PLAYBACK, name, 48000)
        good &= pcm.refusal != 0
        print(f"{name}: {asound.snd_strerror(pcm.refusal).decode() if pcm.refusal else 'taken'}")
        pcm.close()
    return good


def main() -> int:
    match sys.argv[1:]:
        case ["formats", device, *names]:
            good = one_by_one(device, names, lambda name: (name, 48000))
        case ["rates", device, *names]:
            good = one_by_one(device, names, lambda name: ("S16_LE", int(name)))
        case ["refused", device, *names]:
            good = refused(device, names)
        case ["together", *devices]:
            good = run(lambda: {name: Loop(name, "S16_LE", 48000, 1.0) for name in devices})
        case _:
            sys.exit(__doc__)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
