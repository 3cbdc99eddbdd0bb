"""The volumes of a guest's card as the controls of another program: what that one asks and is told
(abi/pcm.cdef.h). The program's end is pw_module/src/ioplug/ctl_xenpv.c."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xenpvaudio.errors import PeerProtocolError

from .. import ffi, lib

ASK_READ, ASK_WRITE, ASK_WATCH = lib.XPA_CTL_READ, lib.XPA_CTL_WRITE, lib.XPA_CTL_WATCH
VOLUME, MUTE = lib.XPA_CTL_VOLUME, lib.XPA_CTL_MUTE
KINDS: int = lib.XPA_CTL_KINDS
MOST_STREAMS: int = lib.XPA_CTL_STREAMS
MOST_CHANNELS: int = lib.XPA_CTL_CHANNELS
LOUDEST: int = lib.XPA_CTL_LOUDEST
"""Steps of a volume at 0 dB; 0 of them are silence."""
STEP_CDB: int = lib.XPA_CTL_STEP_CDB
"""A step, in hundredths of a dB."""
QUESTION_BYTES: int = ffi.sizeof("struct xpa_ctl_question")


@dataclass(frozen=True, slots=True)
class ControlQuestion:
    """What a program's plugin asks (struct xpa_ctl_question); nothing of it is checked yet.
    `stream`: by its place in the answers; `values`: all that fit, however many count."""

    ask: int
    card: int
    stream: int
    kind: int
    values: tuple[int, ...]


def unpack_control_question(data: bytes) -> ControlQuestion | None:
    """None: it is none, but perhaps one of a PCM's. PeerProtocolError: of another version."""
    if len(data) != QUESTION_BYTES:
        return None
    q = ffi.from_buffer("struct xpa_ctl_question *", data)
    if q.version != lib.XPA_PCM_VERSION:
        raise PeerProtocolError(f"the plugin speaks version {q.version} of the protocol")
    return ControlQuestion(q.ask, q.card, q.stream, q.kind, tuple(q.values))


@dataclass(frozen=True, slots=True)
class StreamControls:
    """One stream's. `volumes`: steps, one a channel."""

    capture: bool
    volumes: tuple[int, ...]
    muted: bool


def pack_control_answer(
    status: int, name: str = "", long_name: str = "", streams: Sequence[StreamControls] = ()
) -> bytes:
    """`status`: 0 or a negative errno; the names are cut to what fits."""
    answer = ffi.new("struct xpa_ctl_answer *")
    answer.version = lib.XPA_PCM_VERSION
    answer.status = status
    answer.stream_count = len(streams)
    for field, text in (("name", name), ("long_name", long_name)):
        room = getattr(answer, field)
        ffi.memmove(room, text.encode()[: len(room) - 1], min(len(text.encode()), len(room) - 1))
    for place, stream in zip(answer.streams, streams, strict=False):
        place.direction = lib.XPA_CAPTURE if stream.capture else lib.XPA_PLAYBACK
        place.channels = len(stream.volumes)
        place.muted = stream.muted
        place.volumes[0 : len(stream.volumes)] = stream.volumes
    return bytes(ffi.buffer(answer))


def pack_control_event(stream: int, kind: int) -> bytes:
    """That control has another value."""
    event = ffi.new("struct xpa_ctl_event *", (lib.XPA_PCM_VERSION, stream, kind))
    return bytes(ffi.buffer(event))
