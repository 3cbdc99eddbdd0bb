"""PulseAudio from the control plane's thread: Pulse (a connection to the server), PulseStream.

libpulse has a thread of its own; what it reports waits for dispatch(): make the connection's fd a
reader of the event loop.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from xenpvaudio.errors import UnavailableError

from . import ffi, lib
from .pipewire import CStrings
from .relay import Relay

FRAME_BYTES: int = lib.XPA_PULSE_FRAME_BYTES
"""The most that a frame of the server's may have."""


class PulseEventKind(IntEnum):
    UP = lib.XPA_PULSE_EVENT_UP
    LOST = lib.XPA_PULSE_EVENT_LOST
    STREAM = lib.XPA_PULSE_EVENT_STREAM
    VOLUME = lib.XPA_PULSE_EVENT_VOLUME


@dataclass(frozen=True, slots=True)
class PulseEvent:
    """`there`: of STREAM, whether the server has it."""

    kind: PulseEventKind
    id: int
    there: bool
    text: str


def require_pulse() -> None:
    """UnavailableError where libpulse is not installed."""
    why = lib.xpa_pulse_missing()
    if why != ffi.NULL:
        text: bytes = ffi.string(why)
        raise UnavailableError(text.decode(), hint="apt install libpulse0, or use another output")


def supports_format(sndif_format: int) -> bool:
    """Whether PulseAudio has this sndif format."""
    return bool(lib.xpa_pulse_supports_format(sndif_format))


class Pulse:
    """A connection to the server that PULSE_SERVER, or its usual places, name. UnavailableError
    where libpulse is not installed."""

    def __init__(self) -> None:
        require_pulse()
        self.handle = lib.xpa_pulse_new()
        if self.handle == ffi.NULL:
            raise UnavailableError("no memory, or no descriptors, for PulseAudio")
        self._event = ffi.new("struct xpa_pulse_event *")

    def connect(self) -> None:
        """Ends with the event UP or LOST."""
        if lib.xpa_pulse_connect(self.handle) < 0:
            raise UnavailableError("no memory for a connection to PulseAudio")

    def disconnect(self) -> None:
        """After freeing every stream of this connection."""
        lib.xpa_pulse_disconnect(self.handle)

    def fileno(self) -> int:
        return int(lib.xpa_pulse_fd(self.handle))

    def dispatch(self) -> Iterator[PulseEvent]:
        """What has happened since the last call."""
        lib.xpa_pulse_clear_fd(self.handle)
        while lib.xpa_pulse_next_event(self.handle, self._event):
            e = self._event
            text: bytes = ffi.string(e.text)
            yield PulseEvent(
                PulseEventKind(e.kind), e.id, bool(e.code), text.decode(errors="replace")
            )

    def close(self) -> None:
        if self.handle != ffi.NULL:
            lib.xpa_pulse_free(self.handle)
            self.handle = ffi.NULL


class PulseStream:
    """One guest stream in the server, through a relay. `device`: a sink or source that the host's
    policy names; empty: the default one. `quantum_frames`: a quarter of what waits to be played."""

    def __init__(
        self,
        pulse: Pulse,
        relay: Relay,
        stream_id: int,
        sndif_format: int,
        rate: int,
        channels: int,
        quantum_frames: int,
        device: str,
        properties: Mapping[str, str],
    ) -> None:
        strings = CStrings(properties)
        self.handle = lib.xpa_pulse_stream_new(
            pulse.handle,
            relay.handle,
            stream_id,
            sndif_format,
            rate,
            channels,
            quantum_frames,
            device.encode() if device else ffi.NULL,
            strings.keys,
            strings.values,
            strings.count,
        )
        if self.handle == ffi.NULL and ffi.errno == errno.EINVAL:
            raise UnavailableError(
                f"PulseAudio has no streams of {channels} channels at {rate} Hz",
                hint="narrow the card's channels and sample-rates",
            )
        if self.handle == ffi.NULL:
            raise UnavailableError("PulseAudio refused a stream")

    def set_active(self, active: bool) -> None:
        lib.xpa_pulse_stream_set_active(self.handle, active)

    def set_volumes(self, linear: Sequence[float], mute: bool) -> None:
        """At once, or as soon as the server knows the stream."""
        lib.xpa_pulse_stream_set_volumes(self.handle, list(linear), len(linear), mute)

    def volumes(self) -> tuple[list[float], bool]:
        """Linear volumes a channel (empty: not known yet), and whether the stream is muted."""
        room = ffi.new("float[]", 64)
        mute = ffi.new("int *")
        count = lib.xpa_pulse_stream_volumes(self.handle, room, 64, mute)
        return [room[i] for i in range(count)], bool(mute[0])

    def free(self) -> None:
        if self.handle != ffi.NULL:
            lib.xpa_pulse_stream_free(self.handle)
            self.handle = ffi.NULL
