"""ALSA alone from the control plane's thread: AlsaStream, a device of the host's for one stream."""

from __future__ import annotations

from enum import IntEnum

from xenpvaudio.errors import UnavailableError

from . import ffi, lib
from .relay import Relay

FRAME_BYTES: int = lib.XPA_ALSA_FRAME_BYTES
"""The most that a frame may have."""
_WHY_BYTES = 256


class AlsaState(IntEnum):
    OPENS = lib.XPA_ALSA_OPENS
    RUNS = lib.XPA_ALSA_RUNS
    ENDED = lib.XPA_ALSA_ENDED


def require_alsa() -> None:
    """UnavailableError where alsa-lib is not installed."""
    why = lib.xpa_alsa_missing()
    if why != ffi.NULL:
        text: bytes = ffi.string(why)
        raise UnavailableError(text.decode(), hint="apt install libasound2, or use another output")


def supports_format(sndif_format: int) -> bool:
    """Whether ALSA has this sndif format."""
    return bool(lib.xpa_alsa_supports_format(sndif_format))


class AlsaStream:
    """A device that is opened, and plays or captures, in a thread of its own until it is freed.
    `device`: what the host's policy names."""

    def __init__(
        self,
        relay: Relay,
        device: str,
        sndif_format: int,
        rate: int,
        channels: int,
        quantum_frames: int,
    ) -> None:
        self.handle = lib.xpa_alsa_stream_new(
            relay.handle, device.encode(), sndif_format, rate, channels, quantum_frames
        )
        if self.handle == ffi.NULL:
            raise UnavailableError("no memory, descriptors or threads are left for a host stream")
        self._why = ffi.new("char[]", _WHY_BYTES)

    def fileno(self) -> int:
        """Readable when the state has changed."""
        return int(lib.xpa_alsa_stream_fd(self.handle))

    def state(self) -> tuple[AlsaState, str]:
        """As it is now; of ENDED, why."""
        state = AlsaState(lib.xpa_alsa_stream_state(self.handle, self._why, _WHY_BYTES))
        text: bytes = ffi.string(self._why)
        return state, text.decode(errors="replace")

    def free(self) -> None:
        """When its thread has ended: at once, unless the device hangs."""
        if self.handle != ffi.NULL:
            lib.xpa_alsa_stream_free(self.handle)
            self.handle = ffi.NULL
