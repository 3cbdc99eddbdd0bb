"""In a guest: the timing tests of the kernel's own PCM selftest, with its parameters.

tools/testing/selftests/alsa/pcm-test.c (Debian does not ship it) and its pcm-test.conf: for each
configuration the time that a number of periods takes is compared with what the rate says.

pcm_test.py DEVICE MARGIN_MS      a line each; status 1 if one is off by more, or had an xrun
pcm_test.py drain DEVICE FILE LENGTH...     plays LENGTH frames of FILE and drains, again and again

What is off, or had an xrun, is measured again, five times at most: a machine that was late once is
not late always, but a clock that is wrong is.
"""

from __future__ import annotations

import ctypes
import sys
import time

from alsa import EPIPE, Playback, asound, check

PLAYBACK, CAPTURE, RW_INTERLEAVED = 0, 1, 3
DURATION_SEC = 2.0
ATTEMPTS = 6
# rate, channels, period and buffer in frames, of S16_LE: pcm.test.time1 to time7.
CONFIGURATIONS = (
    (8000, 1, 8000, 32000),
    (8000, 2, 8000, 32000),
    (44100, 2, 22500, 192000),
    (48000, 2, 512, 4096),
    (48000, 2, 24000, 192000),
    (48000, 6, 48000, 576000),
    (96000, 2, 48000, 192000),
)


class Refused(Exception):
    """The device does not do this; the selftest skips it then."""


class Late(Exception):
    """The device ran out of frames, or of room for them."""


class Pcm:
    def __init__(
        self, device: str, direction: int, rate: int, channels: int, period: int, buffer: int
    ) -> None:
        self.pcm = ctypes.c_void_p()
        opened = asound.snd_pcm_open(ctypes.byref(self.pcm), device.encode(), direction, 0)
        check(opened, "open")
        self.frame_bytes = 2 * channels
        try:
            self._configure(direction, rate, channels, period, buffer)
        except Refused:
            self.close()
            raise

    def _configure(
        self, direction: int, rate: int, channels: int, period: int, buffer: int
    ) -> None:
        params = ctypes.c_void_p()
        asound.snd_pcm_hw_params_malloc(ctypes.byref(params))
        check(asound.snd_pcm_hw_params_any(self.pcm, params), "any")
        number = asound.snd_pcm_format_value(b"S16_LE")
        sizes = {"period": ctypes.c_ulong(period), "buffer": ctypes.c_ulong(buffer)}
        for name, value in (
            ("access", RW_INTERLEAVED),
            ("format", number),
            ("channels", channels),
        ):
            if asound[f"snd_pcm_hw_params_set_{name}"](self.pcm, params, value) < 0:
                raise Refused(name)
        if asound.snd_pcm_hw_params_set_rate(self.pcm, params, rate, 0) < 0:
            raise Refused("rate")
        for name, size in sizes.items():
            wanted = size.value
            setter = asound[f"snd_pcm_hw_params_set_{name}_size_near"]
            near = [self.pcm, params, ctypes.byref(size)]
            if name == "period":
                near.append(None)
            if setter(*near) < 0 or size.value != wanted:
                raise Refused(f"{name} of {wanted} frames: {size.value}")
        check(asound.snd_pcm_hw_params(self.pcm, params), "hw_params")
        asound.snd_pcm_hw_params_free(params)
        software = ctypes.c_void_p()
        asound.snd_pcm_sw_params_malloc(ctypes.byref(software))
        check(asound.snd_pcm_sw_params_current(self.pcm, software), "sw_params_current")
        threshold = buffer // period * period if direction == PLAYBACK else period
        for name, value in (("start_threshold", threshold), ("avail_min", period)):
            asound[f"snd_pcm_sw_params_set_{name}"](self.pcm, software, ctypes.c_ulong(value))
        check(asound.snd_pcm_sw_params(self.pcm, software), "sw_params")
        asound.snd_pcm_sw_params_free(software)

    def transfer(self, direction: int, frames: int) -> None:
        data = ctypes.create_string_buffer(frames * self.frame_bytes)
        name = "snd_pcm_writei" if direction == PLAYBACK else "snd_pcm_readi"
        while frames:
            done = asound[name](self.pcm, data, ctypes.c_ulong(frames))
            if done == -EPIPE:
                raise Late(name)
            frames -= check(done, name)

    def close(self) -> None:
        asound.snd_pcm_drop(self.pcm)
        asound.snd_pcm_close(self.pcm)


def timed(device: str, direction: int, config: tuple[int, int, int, int]) -> tuple[float, float]:
    """Seconds that whole periods took, and that they should take."""
    rate, channels, period, buffer = config
    pcm = Pcm(device, direction, rate, channels, period, buffer)
    try:
        if direction == PLAYBACK:
            for _ in range(buffer // period):
                pcm.transfer(direction, period)
        pcm.transfer(direction, period)  # from one period's end on
        count = -int(-DURATION_SEC * rate // period)
        started = time.monotonic()
        for _ in range(count):
            pcm.transfer(direction, period)
        return time.monotonic() - started, count * period / rate
    finally:
        pcm.close()


def best(
    device: str, direction: int, config: tuple[int, int, int, int], margin_sec: float
) -> tuple[float, float]:
    """Seconds too late, and how long it should take; late for ever if it never did without xrun."""
    took, wanted = float("inf"), 0.0
    for _ in range(ATTEMPTS):
        try:
            took, wanted = timed(device, direction, config)
        except Late as late:
            print(f"once more: an xrun, {late}")
            continue
        if abs(took - wanted) <= margin_sec:
            break
        print(f"once more: it took {took:.2f} s for {wanted:.2f}")
    return took - wanted, wanted


def main_timed(device: str, margin_sec: float) -> int:
    bad = 0
    for direction, name in ((PLAYBACK, "playback"), (CAPTURE, "capture")):
        for config in CONFIGURATIONS:
            shown = f"{name} {config[0]} Hz x{config[1]} {config[2]}/{config[3]}"
            try:
                late, wanted = best(device, direction, config, margin_sec)
            except Refused as refusal:
                print(f"{shown}: skipped, {refusal}")
                continue
            print(f"{shown}: {late * 1e3:+.0f} ms of {wanted:.1f} s")
            bad += abs(late) > margin_sec
    return 1 if bad else 0


def main_drain(device: str, path: str, lengths: list[int]) -> int:
    with open(path, "rb") as file:
        data = file.read()
    pcm = Playback(device)
    at = 0
    for length in lengths:
        pcm.write(data[4 * at : 4 * (at + length)])
        at += length
        pcm.call("drain")
        pcm.call("prepare")
    pcm.call("close")
    print(f"{at} frames in {len(lengths)} drains, {pcm.underruns} underruns")
    return 0


def main() -> int:
    match sys.argv[1:]:
        case ["drain", device, path, *lengths]:
            return main_drain(device, path, [int(length) for length in lengths])
        case [device, margin_ms]:
            return main_timed(device, int(margin_ms) / 1e3)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
