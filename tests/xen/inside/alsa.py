"""In a guest: plays through libasound by ctypes, in the ways that aplay never does.

alsa.py storm COUNT          COUNT times: fill, start, drop, prepare
alsa.py gap FILE SEC         half of FILE, SEC without a sound (an underrun), the other half
"""

from __future__ import annotations

import ctypes
import sys
import time

PLAYBACK, S16_LE, RW_INTERLEAVED = 0, 2, 3
EPIPE = 32
RATE, CHANNELS, FRAME_BYTES = 48000, 2, 4

asound = ctypes.CDLL("libasound.so.2")
asound.snd_strerror.restype = ctypes.c_char_p
asound.snd_pcm_writei.restype = ctypes.c_long
asound.snd_pcm_readi.restype = ctypes.c_long


def check(result: int, what: str) -> int:
    if result < 0:
        sys.exit(f"{what}: {asound.snd_strerror(result).decode()}")
    return result


class Playback:
    def __init__(self, device: str = "hw:0,0", latency_usec: int = 680_000) -> None:
        self._pcm = ctypes.c_void_p()
        check(asound.snd_pcm_open(ctypes.byref(self._pcm), device.encode(), PLAYBACK, 0), "open")
        check(
            asound.snd_pcm_set_params(
                self._pcm, S16_LE, RW_INTERLEAVED, CHANNELS, RATE, 0, latency_usec
            ),
            "set_params",
        )
        self.underruns = 0

    def call(self, name: str) -> int:
        return check(asound["snd_pcm_" + name](self._pcm), name)

    def write(self, data: bytes) -> None:
        while data:
            frames = asound.snd_pcm_writei(
                self._pcm, data, ctypes.c_ulong(len(data) // FRAME_BYTES)
            )
            if frames == -EPIPE:
                self.underruns += 1
                self.call("prepare")
                continue
            data = data[check(frames, "write") * FRAME_BYTES :]


def storm(count: int) -> None:
    pcm = Playback()
    for _ in range(count):
        pcm.write(b"\1\0\2\0" * 4800)
        if asound.snd_pcm_state(pcm._pcm) != 3:  # not running yet
            pcm.call("start")
        pcm.call("drop")
        pcm.call("prepare")
    pcm.call("close")
    print(f"{count} rounds, {pcm.underruns} underruns")


def gap(path: str, seconds: float) -> None:
    with open(path, "rb") as file:
        data = file.read()
    half = len(data) // 2 // FRAME_BYTES * FRAME_BYTES
    pcm = Playback()
    pcm.write(data[:half])
    time.sleep(seconds)
    pcm.write(data[half:])
    pcm.call("drain")
    pcm.call("close")
    print(f"{pcm.underruns} underruns")


def main() -> None:
    match sys.argv[1:]:
        case ["storm", count]:
            storm(int(count))
        case ["gap", path, seconds]:
            gap(path, float(seconds))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
