"""Relay: one guest stream's frames between the data loop and a device's own thread."""

from __future__ import annotations

from xenpvaudio.errors import UnavailableError

from . import ffi, lib
from .plane import BackStream


class Relay:
    """connect() it after BackStream.open was queued, disconnect() it before BackStream.close, and
    free() it after the RELEASED or DETACHED notice that follows, and after whatever plays or
    captures through it. `room_frames`: the most that wait in it."""

    def __init__(
        self, back: BackStream, *, capture: bool, frame_bytes: int, rate: int, room_frames: int
    ) -> None:
        self.handle = lib.xpa_relay_new(
            back.handle,
            lib.XPA_CAPTURE if capture else lib.XPA_PLAYBACK,
            frame_bytes,
            rate,
            room_frames,
        )
        if self.handle == ffi.NULL:
            raise UnavailableError("no memory, or no descriptors, for a host stream")

    def connect(self) -> None:
        if lib.xpa_relay_connect(self.handle) < 0:
            raise UnavailableError("the audio thread does not respond", hint="restart xen-pv-audio")

    def silence(self, silent: bool) -> None:
        """Whether silence is played, or captured, instead."""
        lib.xpa_relay_silence(self.handle, silent)

    def disconnect(self) -> None:
        lib.xpa_relay_disconnect(self.handle)

    def free(self) -> None:
        if self.handle != ffi.NULL:
            lib.xpa_relay_free(self.handle)
            self.handle = ffi.NULL
