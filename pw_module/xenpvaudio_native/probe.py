"""Probe: a native real-time PipeWire client that writes down what it is told about time."""

from __future__ import annotations

import array
import os
from typing import NamedTuple

from xenpvaudio.errors import UnavailableError

from . import ffi, lib
from .pipewire import Pipewire


class Mark(NamedTuple):
    """`frame` was handled in the cycle that began at `cycle_nsec`; PipeWire says that it is heard
    (capture: was at the microphone) at `published_nsec`. CLOCK_MONOTONIC."""

    frame: int
    cycle_nsec: int
    published_nsec: int


class Probe:
    """Plays `samples` once and captures `capture_frames`, interleaved float32, from creation on.
    A target is a node's name; "" is the default one."""

    def __init__(
        self,
        pipewire: Pipewire,
        *,
        rate: int,
        channels: int,
        quantum_frames: int,
        samples: array.array[float],
        play_target: str = "",
        capture_target: str = "",
        capture_frames: int = 0,
        probe_id: int = 0,
    ) -> None:
        self.channels = channels
        self.play_frames = len(samples) // channels
        self.capture_frames = capture_frames
        self.handle = lib.xpa_pw_probe_new(
            pipewire.handle,
            probe_id,
            rate,
            channels,
            quantum_frames,
            play_target.encode(),
            ffi.from_buffer("float[]", samples) if samples else ffi.NULL,
            self.play_frames,
            capture_target.encode(),
            capture_frames,
        )
        if self.handle == ffi.NULL:
            raise UnavailableError(f"PipeWire refused the probe ({os.strerror(ffi.errno)})")

    @property
    def played_frames(self) -> int:
        return int(lib.xpa_pw_probe_done_frames(self.handle, lib.XPA_PLAYBACK))

    @property
    def captured_frames(self) -> int:
        return int(lib.xpa_pw_probe_done_frames(self.handle, lib.XPA_CAPTURE))

    def marks(self, *, capture: bool = False) -> list[Mark]:
        """One a cycle, in order."""
        frames = self.capture_frames if capture else self.play_frames
        room = ffi.new("struct xpa_probe_mark[]", frames // 16 + 16)
        direction = lib.XPA_CAPTURE if capture else lib.XPA_PLAYBACK
        count = lib.xpa_pw_probe_marks(self.handle, direction, room, len(room))
        return [Mark(m.frame, m.cycle_nsec, m.published_nsec) for m in room[0:count]]

    def captured(self) -> array.array[float]:
        """What was captured so far."""
        size_bytes = self.captured_frames * self.channels * 4
        data: array.array[float] = array.array("f")
        data.frombytes(bytes(ffi.buffer(lib.xpa_pw_probe_captured(self.handle), size_bytes)))
        return data

    def free(self) -> None:
        if self.handle != ffi.NULL:
            lib.xpa_pw_probe_free(self.handle)
            self.handle = ffi.NULL
