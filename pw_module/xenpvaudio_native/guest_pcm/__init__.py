"""A guest's stream as the PCM of another program, and what that one asks (abi/pcm.cdef.h).

Control plane's thread only. The program's end is pw_module/src/ioplug.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from xenpvaudio.errors import PeerProtocolError, UnavailableError

from .. import ffi, lib
from ..plane import FrontStream, Plane, _check

ASK_SPACE, ASK_OPEN, ASK_CLOSE = lib.XPA_PCM_SPACE, lib.XPA_PCM_OPEN, lib.XPA_PCM_CLOSE
MOST_RATES: int = lib.XPA_PCM_RATES
QUESTION_BYTES: int = ffi.sizeof("struct xpa_pcm_question")


@dataclass(frozen=True, slots=True)
class PcmQuestion:
    """What a program's plugin asks (struct xpa_pcm_question); nothing of it is checked yet."""

    ask: int
    card: int
    device: int
    stream: int
    capture: bool
    format: int
    rate: int
    channels: int
    period_frames: int
    buffer_frames: int


def unpack_question(data: bytes) -> PcmQuestion:
    """PeerProtocolError if it is no question, or one of another version."""
    if len(data) != QUESTION_BYTES:
        raise PeerProtocolError(f"a question of {len(data)} bytes, and not {QUESTION_BYTES}")
    q = ffi.from_buffer("struct xpa_pcm_question *", data)
    if q.version != lib.XPA_PCM_VERSION:
        raise PeerProtocolError(f"the plugin speaks version {q.version} of the protocol")
    return PcmQuestion(
        q.ask,
        q.card,
        q.device,
        q.stream,
        q.direction == lib.XPA_CAPTURE,
        q.format,
        q.rate,
        q.channels,
        q.period_frames,
        q.buffer_frames,
    )


@dataclass(frozen=True, slots=True)
class PcmSpace:
    """What may be opened: `formats` is a bit each, by sndif's numbers; `rates`: all there are, or
    none, and any rate between the two will do."""

    formats: int
    rate_min: int
    rate_max: int
    rates: Sequence[int]
    channels_min: int
    channels_max: int
    period_frames_min: int
    buffer_bytes_max: int


def pack_answer(status: int, space: PcmSpace | None = None, share_bytes: int = 0) -> bytes:
    """`status`: 0 or a negative errno."""
    answer = ffi.new("struct xpa_pcm_answer *")
    answer.version = lib.XPA_PCM_VERSION
    answer.status = status
    answer.share_bytes = share_bytes
    if space is not None:
        answer.formats = space.formats
        answer.rate_min, answer.rate_max = space.rate_min, space.rate_max
        rates = list(space.rates[:MOST_RATES])
        answer.rate_count = len(rates)
        answer.rates[0 : len(rates)] = rates
        answer.channels_min, answer.channels_max = space.channels_min, space.channels_max
        answer.period_frames_min = space.period_frames_min
        answer.buffer_bytes_max = space.buffer_bytes_max
    return bytes(ffi.buffer(answer))


class Pcm:
    """One open PCM: its memory, eventfds, and the data loop's part of it."""

    def __init__(
        self, plane: Plane, pcm_id: int, *, capture: bool, frame_bytes: int, buffer_frames: int
    ) -> None:
        direction = lib.XPA_CAPTURE if capture else lib.XPA_PLAYBACK
        self.handle = lib.xpa_pcm_new(plane.handle, pcm_id, direction, frame_bytes, buffer_frames)
        if self.handle == ffi.NULL:
            raise UnavailableError(f"no memory to share with a program: {os.strerror(ffi.errno)}")
        self.share_bytes = int(lib.xpa_pcm_share_bytes(self.handle))

    def fds(self) -> list[int]:
        """For the program, in this order; ours."""
        order = (lib.XPA_PCM_SHARE_FD, lib.XPA_PCM_KICK_FD, lib.XPA_PCM_WAKE_FD)
        return [int(lib.xpa_pcm_fd(self.handle, which)) for which in order]

    def bind(self, front: FrontStream) -> None:
        """`front` is open, and its frames are the program's until it closes."""
        _check(lib.xpa_pcm_bind(self.handle, front.handle))

    def set_gain(self, linear: Sequence[float]) -> None:
        """What is left of the volume to be made here: an amplitude a channel; at any time."""
        lib.xpa_pcm_set_gain(self.handle, [*linear], len(linear))

    def unbind(self) -> None:
        """Ends with DETACHED under this PCM's id."""
        _check(lib.xpa_pcm_unbind(self.handle))

    def free(self) -> None:
        """After DETACHED."""
        if self.handle != ffi.NULL:
            lib.xpa_pcm_free(self.handle)
            self.handle = ffi.NULL
