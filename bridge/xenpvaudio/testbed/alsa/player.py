"""A measuring ALSA program as a process of its own: plays a noise that never repeats, records what
comes meanwhile, and reports what snd_pcm_delay() told it.

`python -m xenpvaudio.testbed.alsa.player` prints one JSON object: `marks` and `capture_marks`,
lists of [frame, asked, told] (ns), told: when that frame is heard, or was said into the microphone;
and `xruns`, of playback and capture. The noise is noise_player's; 16 bits go to ALSA and come back.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from xenpvaudio.errors import UnavailableError, XenPvAudioError
from xenpvaudio.testbed.noise_player import PEAK, noise

# alsa/pcm.h
PLAYBACK, CAPTURE = 0, 1
_S16_LE, _RW_INTERLEAVED = 2, 3
_EPIPE = 32
_FULL_SCALE = 32768
_CAPTURE_BUFFER_FRAMES = 16384


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libasound.so.2")
    except OSError as error:
        raise UnavailableError(f"no alsa-lib: {error}", hint="apt install libasound2") from None
    library.snd_strerror.restype = ctypes.c_char_p
    for name in ("writei", "readi"):
        getattr(library, f"snd_pcm_{name}").restype = ctypes.c_long
    return library


class Pcm:
    """One stream, open and prepared; one thread. UnavailableError from every call that fails."""

    def __init__(
        self,
        device: str,
        stream: int,
        *,
        rate: int,
        channels: int,
        period_frames: int,
        buffer_frames: int,
    ) -> None:
        self._asound = _load()
        self._pcm, params = ctypes.c_void_p(), ctypes.c_void_p()
        self._rate = rate
        self._frame_bytes = 2 * channels
        self._device = device
        self.xruns = 0
        self._asked(
            self._asound.snd_pcm_open(ctypes.byref(self._pcm), device.encode(), stream, 0), "open"
        )
        self._asound.snd_pcm_hw_params_malloc(ctypes.byref(params))
        self._call("hw_params_any", params)
        for name, value in (
            ("access", _RW_INTERLEAVED),
            ("format", _S16_LE),
            ("channels", channels),
        ):
            self._call(f"hw_params_set_{name}", params, value)
        for name, value in (("rate", rate), ("period_size", period_frames)):
            self._call(f"hw_params_set_{name}", params, ctypes.c_ulong(value), 0)
        self._call("hw_params_set_buffer_size", params, ctypes.c_ulong(buffer_frames))
        self._call("hw_params", params)
        self._asound.snd_pcm_hw_params_free(params)
        if stream == PLAYBACK:
            self._start_when_full(buffer_frames)

    def _asked(self, result: int, what: str) -> int:
        if result < 0:
            reason = self._asound.snd_strerror(result).decode()
            raise UnavailableError(f"{self._device}: {what}: {reason}")
        return result

    def _call(self, name: str, *arguments: Any) -> int:
        done = getattr(self._asound, f"snd_pcm_{name}")(self._pcm, *arguments)
        return self._asked(done, name)

    def _start_when_full(self, buffer_frames: int) -> None:
        params = ctypes.c_void_p()
        self._asound.snd_pcm_sw_params_malloc(ctypes.byref(params))
        self._call("sw_params_current", params)
        self._call("sw_params_set_start_threshold", params, ctypes.c_ulong(buffer_frames))
        self._call("sw_params", params)
        self._asound.snd_pcm_sw_params_free(params)

    def start(self) -> None:
        self._call("start")

    def drain(self) -> None:
        """Returns when all that was written has been played."""
        self._call("drain")

    def close(self) -> None:
        self._call("close")

    def told(self) -> tuple[int, int] | None:
        """When it was asked, and how long after that the frame that is written next is heard, or
        before it the one that is read next was said; nsec. None in an xrun."""
        frames = ctypes.c_long()
        before = time.monotonic_ns()
        done = self._asound.snd_pcm_delay(self._pcm, ctypes.byref(frames))
        if done == -_EPIPE:
            return None
        self._asked(done, "delay")
        asked = (before + time.monotonic_ns()) // 2
        return asked, frames.value * 1_000_000_000 // self._rate

    def _moved(self, done: int, what: str) -> int:
        """Of how many frames; 0: an xrun was in the way."""
        if done != -_EPIPE:
            return self._asked(done, what)
        self.xruns += 1
        self._call("prepare")
        return 0

    def write(self, data: bytes) -> None:
        count = ctypes.c_ulong(len(data) // self._frame_bytes)
        self._moved(self._asound.snd_pcm_writei(self._pcm, data, count), "write")

    def read(self, frames: int) -> bytes:
        buffer = ctypes.create_string_buffer(frames * self._frame_bytes)
        done = self._asound.snd_pcm_readi(self._pcm, buffer, ctypes.c_ulong(frames))
        return buffer.raw[: self._moved(done, "read") * self._frame_bytes]


class Playing(threading.Thread):
    """Writes `sound`, and asks after each period."""

    def __init__(self, pcm: Pcm, sound: bytes, frame_bytes: int, period_frames: int) -> None:
        super().__init__(name="playing", daemon=True)
        self._pcm = pcm
        self._sound = sound
        self._frame_bytes = frame_bytes
        self._step_bytes = period_frames * frame_bytes
        self.marks: list[tuple[int, int, int]] = []
        self.error: XenPvAudioError | None = None

    def run(self) -> None:
        try:
            for begin in range(0, len(self._sound), self._step_bytes):
                piece = self._sound[begin : begin + self._step_bytes]
                self._pcm.write(piece)
                if (told := self._pcm.told()) is not None:
                    asked, later = told
                    end = (begin + len(piece)) // self._frame_bytes
                    self.marks.append((end, asked, asked + later))
            self._pcm.drain()
        except XenPvAudioError as error:
            self.error = error


class Recording:
    """Steps of a period each, from now on."""

    def __init__(self, pcm: Pcm, frame_bytes: int, period_frames: int) -> None:
        self._pcm = pcm
        self._frame_bytes = frame_bytes
        self._period_frames = period_frames
        self.data = bytearray()
        self.marks: list[tuple[int, int, int]] = []
        pcm.start()

    @property
    def frames(self) -> int:
        return len(self.data) // self._frame_bytes

    def step(self) -> None:
        self.data += self._pcm.read(self._period_frames)
        if (told := self._pcm.told()) is not None:
            asked, earlier = told
            self.marks.append((self.frames, asked, asked - earlier))


def measure(
    device: str,
    sound: bytes,
    *,
    rate: int,
    channels: int,
    period_frames: int,
    buffer_frames: int,
    capture_frames: int,
) -> tuple[Mapping[str, Any], bytes]:
    """Plays `sound` (s16) and records meanwhile: what main() prints, and what was recorded. Either
    may be nothing."""
    form = {"rate": rate, "channels": channels, "period_frames": period_frames}
    frame_bytes = 2 * channels
    out = Pcm(device, PLAYBACK, **form, buffer_frames=buffer_frames) if sound else None
    into = (
        Pcm(device, CAPTURE, **form, buffer_frames=_CAPTURE_BUFFER_FRAMES)
        if capture_frames
        else None
    )
    recording = Recording(into, frame_bytes, period_frames) if into is not None else None
    playing = Playing(out, sound, frame_bytes, period_frames) if out is not None else None
    if playing is not None:
        playing.start()
    while recording is not None and recording.frames < capture_frames:
        recording.step()
    if playing is not None:
        playing.join()
        if playing.error is not None:
            raise playing.error
    for pcm in (out, into):
        if pcm is not None:
            pcm.close()
    told = {
        "marks": [] if playing is None else playing.marks,
        "capture_marks": [] if recording is None else recording.marks,
        "xruns": [0 if pcm is None else pcm.xruns for pcm in (out, into)],
    }
    return told, b"" if recording is None else bytes(recording.data)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m xenpvaudio.testbed.alsa.player", description=__doc__
    )
    parser.add_argument("--device", default="xenpv")
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--period", type=int, default=1024)
    parser.add_argument("--buffer", type=int, default=0, help="frames (default four periods)")
    parser.add_argument("--frames", type=int, default=48000)
    parser.add_argument("--peak", type=int, default=PEAK)
    parser.add_argument("--capture-frames", type=int, default=0)
    parser.add_argument("--capture-file", default="", help="raw float32, what was captured")
    a = parser.parse_args()
    with contextlib.suppress(OSError):  # as programs with short periods do
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
    samples = noise(a.frames, a.channels, peak=a.peak)
    try:
        told, captured = measure(
            a.device,
            array.array("h", [round(sample * _FULL_SCALE) for sample in samples]).tobytes(),
            rate=a.rate,
            channels=a.channels,
            period_frames=a.period,
            buffer_frames=a.buffer or 4 * a.period,
            capture_frames=a.capture_frames,
        )
    except XenPvAudioError as error:
        print(f"xen-pv-audio: {error}", file=sys.stderr)
        return error.exit_status
    if a.capture_file:
        values = [value / _FULL_SCALE for value in array.array("h", captured)]
        with open(a.capture_file, "wb") as file:
            array.array("f", values).tofile(file)
    json.dump(told, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
