"""PipeWire from the control plane's thread: Pipewire (a connection), GuestNode, HostNode.

PipeWire's main loop runs in a thread in C; what it reports waits for dispatch(): make the
connection's fd a reader of the event loop. Audio runs on PipeWire's data loop, which also drives
the Plane given here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from xenpvaudio.errors import UnavailableError

from . import ffi, lib
from .plane import BackStream, FrontStream, Plane


class PwEventKind(IntEnum):
    LOST = lib.XPA_PW_EVENT_LOST
    FORMAT = lib.XPA_PW_EVENT_FORMAT
    STATE = lib.XPA_PW_EVENT_STATE
    VOLUME = lib.XPA_PW_EVENT_VOLUME
    CARD = lib.XPA_PW_EVENT_CARD
    MANAGER = lib.XPA_PW_EVENT_MANAGER


class StreamState(IntEnum):
    """enum pw_stream_state (pipewire/stream.h)."""

    ERROR = -1
    UNCONNECTED = 0
    CONNECTING = 1
    PAUSED = 2
    STREAMING = 3


@dataclass(frozen=True, slots=True)
class PwEvent:
    kind: PwEventKind
    id: int
    args: tuple[int, int, int]
    text: str

    @property
    def lost_node(self) -> bool:
        """Whether the stream's node is gone: an error, or somebody destroyed it. The stream object
        stays and does nothing any more."""
        gone = (StreamState.ERROR, StreamState.UNCONNECTED)
        return self.kind is PwEventKind.STATE and self.args[0] in gone

    @property
    def streaming(self) -> bool:
        return self.kind is PwEventKind.STATE and self.args[0] == StreamState.STREAMING

    @property
    def loss(self) -> str:
        """Of a lost_node, for people."""
        return f"PipeWire gave its node up ({self.text or 'it was destroyed'}): making a new one"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a guest node offers to the graph, best first: sndif format numbers, Hz, channels."""

    formats: Sequence[int]
    rates: Sequence[int]
    channels: Sequence[int]


def library_version() -> tuple[int, int, int]:
    """The version of the libpipewire that this process runs with."""
    version: bytes = ffi.string(lib.xpa_pw_library_version())
    major, minor, micro = (int(number) for number in re.findall(rb"\d+", version)[:3])
    return major, minor, micro


def supports_format(sndif_format: int) -> bool:
    """Whether PipeWire converts this sndif format."""
    return bool(lib.xpa_pw_supports_format(sndif_format))


class CStrings:
    """char *[] of keys and of values, alive as long as this object."""

    def __init__(self, properties: Mapping[str, str]) -> None:
        self._kept = [
            (ffi.new("char[]", key.encode()), ffi.new("char[]", value.encode()))
            for key, value in properties.items()
        ]
        self.count = len(self._kept)
        self.keys = ffi.new("char *[]", [key for key, _ in self._kept])
        self.values = ffi.new("char *[]", [value for _, value in self._kept])


class Pipewire:
    """A connection to the PipeWire daemon that XDG_RUNTIME_DIR and PIPEWIRE_REMOTE name."""

    def __init__(self, plane: Plane, application_name: str) -> None:
        self.plane = plane
        self.handle = lib.xpa_pw_new(plane.handle, application_name.encode())
        if self.handle == ffi.NULL:
            raise UnavailableError(
                "PipeWire's client configuration cannot be loaded", hint="apt install pipewire-bin"
            )
        self._event = ffi.new("struct xpa_pw_event *")

    def connect(self) -> None:
        """Raises UnavailableError if no daemon answers. Connected already: nothing to do."""
        result = lib.xpa_pw_connect(self.handle)
        if result < 0:
            raise UnavailableError(
                f"no PipeWire daemon answers here ({os.strerror(-result)})",
                hint="start pipewire, or set XDG_RUNTIME_DIR to the session's",
            )

    def disconnect(self) -> None:
        """After freeing every node and stream of this connection."""
        lib.xpa_pw_disconnect(self.handle)

    def answers(self) -> bool:
        """Whether the daemon has answered what the call before asked; if so, asks again."""
        return bool(lib.xpa_pw_answers(self.handle))

    def fileno(self) -> int:
        return int(lib.xpa_pw_fd(self.handle))

    def dispatch(self) -> Iterator[PwEvent]:
        """What has happened since the last call."""
        lib.xpa_pw_clear_fd(self.handle)
        while lib.xpa_pw_next_event(self.handle, self._event):
            e = self._event
            text: bytes = ffi.string(e.text)
            yield PwEvent(
                PwEventKind(e.kind), e.id, (e.a[0], e.a[1], e.a[2]), text.decode(errors="replace")
            )

    def close(self) -> None:
        """After the plane's streams are detached: their loop ends here."""
        if self.handle != ffi.NULL:
            lib.xpa_pw_free(self.handle)
            self.handle = ffi.NULL


class GuestNode:
    """A sink (or source, `capture`) in the guest's graph, clocked by a FrontStream's backend."""

    def __init__(
        self,
        pipewire: Pipewire,
        node_id: int,
        capture: bool,
        properties: Mapping[str, str],
        offer: Offer,
    ) -> None:
        strings = CStrings(properties)
        c_offer = ffi.new("struct xpa_pw_offer *")
        for name, values in (
            ("format", offer.formats),
            ("rate", offer.rates),
            ("channels", offer.channels),
        ):
            array: Any = getattr(c_offer, name if name == "channels" else f"{name}s")
            values = values[: len(array)]
            setattr(c_offer, f"{name}_count", len(values))
            for i, value in enumerate(values):
                array[i] = value
        self.handle = lib.xpa_pw_node_new(
            pipewire.handle,
            pipewire.plane.handle,
            node_id,
            lib.XPA_CAPTURE if capture else lib.XPA_PLAYBACK,
            strings.keys,
            strings.values,
            strings.count,
            c_offer,
        )
        if self.handle == ffi.NULL:
            raise UnavailableError(f"PipeWire refused a node ({os.strerror(ffi.errno)})")

    def bind(self, front: FrontStream) -> None:
        """Uses that stream until it is detached."""
        lib.xpa_pw_node_bind(self.handle, front.handle)

    def set_latency(self, lead_frames: int, rate: int) -> None:
        lib.xpa_pw_node_set_latency(self.handle, lead_frames, rate)

    def set_route(
        self,
        volumes: Sequence[float],
        mute: bool,
        latency_offset_nsec: int,
        soft_volumes: Sequence[float],
        soft_mute: bool,
    ) -> None:
        """Linear volumes, one a channel, that mixers show; those that PipeWire makes of the samples
        here, as many; and what is added to the latency that is published."""
        lib.xpa_pw_node_set_route(
            self.handle,
            list(volumes),
            list(soft_volumes),
            len(volumes),
            mute,
            soft_mute,
            latency_offset_nsec,
        )

    def set_properties(self, properties: Mapping[str, str]) -> None:
        strings = CStrings(properties)
        lib.xpa_pw_node_set_properties(self.handle, strings.keys, strings.values, strings.count)

    @property
    def global_id(self) -> int:
        return int(lib.xpa_pw_node_global_id(self.handle))

    def free(self) -> None:
        if self.handle != ffi.NULL:
            lib.xpa_pw_node_free(self.handle)
            self.handle = ffi.NULL


class HostNode:
    """One guest stream in the host's graph. Create it after BackStream.open was queued (the data
    loop carries it out before it knows of this one), free it before BackStream.close."""

    def __init__(
        self,
        pipewire: Pipewire,
        back: BackStream,
        host_id: int,
        capture: bool,
        sndif_format: int,
        rate: int,
        channels: int,
        sample_bytes: int,
        properties: Mapping[str, str],
    ) -> None:
        strings = CStrings(properties)
        self.handle = lib.xpa_pw_host_new(
            pipewire.handle,
            back.handle,
            host_id,
            lib.XPA_CAPTURE if capture else lib.XPA_PLAYBACK,
            sndif_format,
            rate,
            channels,
            sample_bytes,
            strings.keys,
            strings.values,
            strings.count,
        )
        if self.handle == ffi.NULL:
            raise UnavailableError(f"PipeWire refused a stream ({os.strerror(ffi.errno)})")

    def set_active(self, active: bool) -> None:
        lib.xpa_pw_host_set_active(self.handle, active)

    def set_volumes(self, linear: Sequence[float], mute: bool) -> bool:
        """At once, or as soon as PipeWire can."""
        done = lib.xpa_pw_host_set_volumes(self.handle, list(linear), len(linear), mute)
        return bool(done >= 0)

    def volumes(self) -> tuple[list[float], bool]:
        """Linear volumes a channel (empty: not known yet), and whether the stream is muted."""
        room = ffi.new("float[]", 64)
        mute = ffi.new("int *")
        count = lib.xpa_pw_host_volumes(self.handle, room, 64, mute)
        return [room[i] for i in range(count)], bool(mute[0])

    def free(self) -> None:
        if self.handle != ffi.NULL:
            lib.xpa_pw_host_free(self.handle)
            self.handle = ffi.NULL
