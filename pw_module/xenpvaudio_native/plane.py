"""The data plane's handles: Plane, FrontStream, BackStream, VirtualDevice, Tap.

All of it is used from the control plane's one thread. What is lent to C (pages, channels, buffers)
is kept alive here until the notice that gives it back; callers must wait for that notice before
they unmap.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from xenpvaudio.errors import UnavailableError

from . import ffi, lib
from .tap import Tap

PACKET_BYTES = 64


class NoticeKind(IntEnum):
    """What the data loop reports (abi/native.cdef.h)."""

    REQUEST = lib.XPA_NOTICE_REQUEST
    RESPONSE = lib.XPA_NOTICE_RESPONSE
    TRIGGER = lib.XPA_NOTICE_TRIGGER
    RELEASED = lib.XPA_NOTICE_RELEASED
    DETACHED = lib.XPA_NOTICE_DETACHED
    BROKEN = lib.XPA_NOTICE_BROKEN
    LATENCY = lib.XPA_NOTICE_LATENCY
    VOLUME = lib.XPA_NOTICE_VOLUME


@dataclass(frozen=True, slots=True)
class Notice:
    kind: NoticeKind
    stream_id: int
    code: int
    packet: bytes


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """An open stream: sndif's number of the format, frames, and the shared buffer's address in
    this process."""

    format: int
    rate: int
    channels: int
    sample_bytes: int
    silence: bytes
    buffer_frames: int
    period_frames: int
    address: int
    sample_kind: int = 0

    def to_c(self) -> Any:
        config = ffi.new("struct xpa_config *")
        config.format = self.format
        config.rate = self.rate
        config.channels = self.channels
        config.sample_bytes = self.sample_bytes
        config.sample_kind = self.sample_kind
        for i, byte in enumerate(self.silence):
            config.silence[i] = byte
        config.buffer_frames = self.buffer_frames
        config.period_frames = self.period_frames
        config.buffer = ffi.cast("void *", self.address)
        return config


class ChannelLike(Protocol):
    """An event channel as the data loop needs it (abi/xen_io.cdef.h)."""

    @property
    def fd(self) -> int: ...
    @property
    def port(self) -> int: ...
    @property
    def kind(self) -> int: ...


def _channel(channel: ChannelLike) -> Any:
    return ffi.new(
        "struct xpa_channel *", {"fd": channel.fd, "port": channel.port, "kind": channel.kind}
    )


def _check(result: int) -> None:
    if result == -errno.ENOMEM:
        raise UnavailableError("no memory for a stream's buffer", hint="free some, or use less")
    if result < 0:
        # the command queue holds 1024; it fills only if the data loop stands still
        raise UnavailableError("the audio thread does not respond", hint="restart xen-pv-audio")


@dataclass(frozen=True, slots=True)
class Stats:
    """A stream's figures (struct xpa_stats), units in the names."""

    written_frames: int
    position_frames: int
    transfers: int
    events: int
    events_skipped: int
    xruns: int
    last_xrun_nsec: int
    silence_frames: int
    cycles: int
    deferred: int
    resyncs: int
    dropped_frames: int
    held_cycles: int
    delay_frames: int
    lead_frames: int
    published_frames: int
    true_frames: float
    quantum_frames: int
    quantum_rate: int
    callback_nsec: int
    ppm: float
    host_delay_frames: float
    host_delay_max_frames: float
    transport_nsec: int
    jitter_nsec: int
    rests: int
    running: int
    driving: int


_STATS_FIELDS = tuple(Stats.__dataclass_fields__)


def _stats(copy: Callable[[Any, Any], None], handle: Any) -> Stats:
    figures = ffi.new("struct xpa_stats *")
    copy(handle, figures)
    return Stats(*(getattr(figures, name) for name in _STATS_FIELDS))


class Plane:
    """The data loop of this process with its two queues."""

    def __init__(self) -> None:
        self.handle = lib.xpa_plane_new()
        if self.handle == ffi.NULL:
            raise UnavailableError("no file descriptors are left for the audio thread")
        self._notice = ffi.new("struct xpa_notice *")

    def start_thread(self) -> None:
        """Runs the loop in a thread of its own; for processes without PipeWire."""
        _check(lib.xpa_plane_start_thread(self.handle))

    def fileno(self) -> int:
        """Readable when notices wait."""
        return int(lib.xpa_plane_notice_fd(self.handle))

    def notices(self) -> Iterator[Notice]:
        """Notices until none waits, those that come meanwhile too."""
        lib.xpa_plane_clear_notice_fd(self.handle)
        while lib.xpa_plane_next_notice(self.handle, self._notice):
            n = self._notice
            packet = bytes(ffi.buffer(n.packet))
            yield Notice(NoticeKind(n.kind), n.stream_id, n.code, packet)

    def lost_notices(self) -> int:
        """How many were lost since this was last asked, because nobody had read those before."""
        return int(lib.xpa_plane_take_lost_notices(self.handle))

    def close(self) -> None:
        """After every stream's DETACHED notice."""
        if self.handle != ffi.NULL:
            lib.xpa_plane_free(self.handle)
            self.handle = ffi.NULL


def margin_frames(rate: int, period_frames: int, *, capture: bool) -> int:
    """How late a cycle may be at first: that part of a lead that is not the host's need."""
    direction = lib.XPA_CAPTURE if capture else lib.XPA_PLAYBACK
    return int(lib.xpa_front_margin_frames(rate, period_frames, direction))


class Budget:
    """What one peer may cost the data loop, for all its streams together (base/budget.h)."""

    def __init__(self) -> None:
        self.handle = ffi.new("struct xpa_budget *")


class FrontStream:
    """The frontend half of a stream in the data loop. The pages are initialised here, before the
    backend is told of them. `budget`: what it shares with the backend's other streams."""

    def __init__(
        self,
        plane: Plane,
        stream_id: int,
        capture: bool,
        ring_address: int,
        event_address: int,
        requests: ChannelLike,
        events: ChannelLike,
        position_ext: bool,
        backend_id: int,
        budget: Budget | None = None,
    ) -> None:
        self.stream_id = stream_id
        self._budget = budget  # lent: it may not go before the stream
        self.handle = lib.xpa_front_new(
            plane.handle,
            stream_id,
            lib.XPA_CAPTURE if capture else lib.XPA_PLAYBACK,
            ffi.cast("void *", ring_address),
            ffi.cast("void *", event_address),
            _channel(requests)[0],
            _channel(events)[0],
            position_ext,
            backend_id,
        )
        if self.handle == ffi.NULL:
            raise UnavailableError("no memory, or no descriptors, for a stream")
        if budget is not None:
            lib.xpa_front_share_budget(self.handle, budget.handle)

    def hear_volumes(self) -> None:
        """Before attach: VOLUME notices with the events of the volume extension."""
        lib.xpa_front_hear_volumes(self.handle)

    def attach(self) -> None:
        _check(lib.xpa_front_attach(self.handle))

    def detach(self) -> None:
        """Ends with DETACHED; pages and channels are in use until then."""
        _check(lib.xpa_front_detach(self.handle))

    def open(self, config: StreamFormat, lead_frames: int, least_lead_frames: int = 0) -> None:
        """`least_lead_frames`: playback never has less, however little the host needs."""
        _check(lib.xpa_front_open(self.handle, config.to_c(), lead_frames, least_lead_frames))

    def close(self) -> None:
        """Ends with RELEASED; the buffer is in use until then."""
        _check(lib.xpa_front_close(self.handle))

    def request(self, packet: bytes) -> None:
        """Ends with RESPONSE, or never: deadlines are the caller's."""
        _check(lib.xpa_front_request(self.handle, packet))

    def control(self, operation: int, data: bytes) -> bool:
        """A volume or mute (abi/native.cdef.h) of an open stream, 1 to 256 bytes; ends with
        RESPONSE, whose code is not 0 if there was no place for it. False: the last one has not
        gone yet."""
        done = lib.xpa_front_control(self.handle, operation, data, len(data))
        if done == -errno.EBUSY:
            return False
        _check(done)
        return True

    def check(self) -> None:
        """To be called about once a second: looks for transfers unanswered for 3 s."""
        _check(lib.xpa_front_check(self.handle))

    @property
    def stats(self) -> Stats:
        return _stats(lib.xpa_front_stats, self.handle)

    def free(self) -> None:
        """After DETACHED."""
        if self.handle != ffi.NULL:
            lib.xpa_front_free(self.handle)
            self.handle = ffi.NULL


class BackStream:
    """The backend half of a stream in the data loop. `budget`: what it shares with the guest's
    other streams; without one it has its own."""

    def __init__(
        self,
        plane: Plane,
        stream_id: int,
        capture: bool,
        ring_address: int,
        event_address: int,
        requests: ChannelLike,
        events: ChannelLike,
        position_ext: bool,
        budget: Budget | None = None,
    ) -> None:
        self.stream_id = stream_id
        self._budget = budget  # lent: it may not go before the stream
        self.handle = lib.xpa_back_new(
            plane.handle,
            stream_id,
            lib.XPA_CAPTURE if capture else lib.XPA_PLAYBACK,
            ffi.cast("void *", ring_address),
            ffi.cast("void *", event_address),
            _channel(requests)[0],
            _channel(events)[0],
            position_ext,
        )
        if self.handle == ffi.NULL:
            raise UnavailableError("no memory, or no descriptors, for a stream")
        if budget is not None:
            lib.xpa_back_share_budget(self.handle, budget.handle)

    def watch(self) -> None:
        """Before attach: BROKEN with -ENOTCONN once the byte that the frontend keeps set in the
        event page is cleared (liveness extension)."""
        lib.xpa_back_watch(self.handle)

    def tell_volumes(self) -> None:
        """Before attach: the frontend understands the volume extension."""
        lib.xpa_back_tell_volumes(self.handle)

    def tell_volume(self, event: bytes) -> None:
        """An event of the volume extension; nothing without it."""
        _check(lib.xpa_back_tell_volume(self.handle, event))

    def attach(self) -> None:
        _check(lib.xpa_back_attach(self.handle))

    def detach(self) -> None:
        _check(lib.xpa_back_detach(self.handle))

    def open(self, config: StreamFormat) -> None:
        _check(lib.xpa_back_open(self.handle, config.to_c()))

    def close(self) -> None:
        _check(lib.xpa_back_close(self.handle))

    def respond(self, packet: bytes) -> None:
        _check(lib.xpa_back_respond(self.handle, packet))

    def inject_faults(self, jitter_nsec: int, stall_nsec: int, stall_every_nsec: int) -> None:
        """Position events reach the guest late, for experiments (abi/native.cdef.h)."""
        _check(lib.xpa_back_inject_faults(self.handle, jitter_nsec, stall_nsec, stall_every_nsec))

    def set_tap(self, tap: Tap | None) -> None:
        _check(lib.xpa_back_set_tap(self.handle, tap.handle if tap else ffi.NULL))

    @property
    def stats(self) -> Stats:
        return _stats(lib.xpa_back_stats, self.handle)

    def free(self) -> None:
        if self.handle != ffi.NULL:
            lib.xpa_back_free(self.handle)
            self.handle = ffi.NULL


class VirtualDevice:
    """A host device without hardware; connect at most one playback and one capture stream."""

    FRAME_BYTES: int = lib.XPA_VDEV_FRAME_BYTES
    """What it reserves for each frame that it holds."""

    def __init__(
        self,
        plane: Plane,
        rate: int,
        quantum_frames: int,
        *,
        ppm: float = 0.0,
        loopback: bool = False,
        delay_frames: int = 0,
        gain: float = 1.0,
    ) -> None:
        self.rate = rate
        self.quantum_frames = quantum_frames
        self.handle = lib.xpa_vdev_new(
            plane.handle, rate, quantum_frames, ppm, loopback, delay_frames, gain
        )
        if self.handle == ffi.NULL:
            raise UnavailableError("no memory for a virtual device")

    def connect(self, stream: BackStream) -> None:
        _check(lib.xpa_vdev_connect(self.handle, stream.handle))

    def disconnect(self, stream: BackStream) -> None:
        """In effect at that stream's next RELEASED or DETACHED notice."""
        _check(lib.xpa_vdev_disconnect(self.handle, stream.handle))

    def free(self) -> None:
        if self.handle != ffi.NULL:
            lib.xpa_vdev_free(self.handle)
            self.handle = ffi.NULL
