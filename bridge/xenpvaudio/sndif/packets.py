"""Packets of sndif as values: requests, responses, events, 64 bytes each. Pure; any thread.

Offsets and widths come from Xen's header through the compiler. Unpacking takes a private copy of a
slot and raises PeerProtocolError only for what cannot be answered (a wrong length, an event or a
response of no known kind); whether the values make sense is decided in sndif/stream_rules.py and
sndif/hwparams.py, so that a peer gets a status and not silence. Reserved bytes are not looked at:
Linux's frontend leaves there what an earlier request put.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from xenpvaudio.errors import LocalProtocolError, PeerProtocolError
from xenpvaudio_native import header

from .codes import Event, Operation, Status
from .config_space import Interval, Space
from .layout import Layout

REQUEST_BYTES = header.sizeof("xensnd_req")
RESPONSE_BYTES = header.sizeof("xensnd_resp")
EVENT_BYTES = header.sizeof("xensnd_evt")


def _members(prefix: str, **members: str) -> dict[str, str]:
    return {name: prefix + member for name, member in members.items()}


_HEAD = {"id": "id", "operation": "operation"}
_SPACE = {"formats": "formats"} | {
    f"{parameter}_{end}": f"{parameter}.{end}"
    for parameter in ("rates", "channels", "buffer", "period")
    for end in ("min", "max")
}
_REQUEST = Layout("xensnd_req", _HEAD)
_OPEN = Layout(
    "xensnd_req",
    _HEAD
    | _members(
        "op.open.",
        rate="pcm_rate",
        format="pcm_format",
        channels="pcm_channels",
        buffer_bytes="buffer_sz",
        gref_directory="gref_directory",
        period_bytes="period_sz",
    ),
)
_TRANSFER = Layout(
    "xensnd_req", _HEAD | _members("op.rw.", offset_bytes="offset", length_bytes="length")
)
_TRIGGER = Layout("xensnd_req", _HEAD | _members("op.trigger.", type="type"))
_QUERY = Layout("xensnd_req", _HEAD | _members("op.hw_param.", **_SPACE))
_STATUS = Layout("xensnd_resp", _HEAD | {"status": "status"}, signed="status")
_ANSWER = Layout(
    "xensnd_resp",
    _HEAD | {"status": "status"} | _members("resp.hw_param.", **_SPACE),
    signed="status",
)
_CUR_POS = Layout(
    "xensnd_evt", {"id": "id", "type": "type", "position_bytes": "op.cur_pos.position"}
)
# The position extension, in the first reserved bytes after the position.
_POSITION_EXT_PLACE = header.offset("xensnd_evt", "op.cur_pos") + header.sizeof(
    "xensnd_cur_pos_evt"
)
_POSITION_EXT = Layout(
    "xpa_position_ext",
    {
        name: name
        for name in (
            "host_frames",
            "host_frames_max",
            "age_nsec",
            "time_low_nsec",
            "time_high_nsec",
            "flags",
        )
    },
)


def _space_values(space: Space) -> dict[str, int]:
    return {
        "formats": space.formats,
        "rates_min": space.rates.min,
        "rates_max": space.rates.max,
        "channels_min": space.channels.min,
        "channels_max": space.channels.max,
        "buffer_min": space.buffer_frames.min,
        "buffer_max": space.buffer_frames.max,
        "period_min": space.period_frames.min,
        "period_max": space.period_frames.max,
    }


def _space_from(values: Mapping[str, int]) -> Space:
    rates, channels, buffer, period = (
        Interval(values[f"{name}_min"], values[f"{name}_max"])
        for name in ("rates", "channels", "buffer", "period")
    )
    return Space(values["formats"], rates, channels, buffer, period)


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """XENSND_OP_OPEN. `format` is a number as received: it may be no PcmFormat."""

    id: int
    rate: int
    format: int
    channels: int
    buffer_bytes: int
    gref_directory: int
    period_bytes: int
    operation: ClassVar[Operation] = Operation.OPEN

    def pack(self) -> bytes:
        return bytes(
            _OPEN.pack(
                {
                    "id": self.id,
                    "operation": self.operation,
                    "rate": self.rate,
                    "format": self.format,
                    "channels": self.channels,
                    "buffer_bytes": self.buffer_bytes,
                    "gref_directory": self.gref_directory,
                    "period_bytes": self.period_bytes,
                }
            )
        )


@dataclass(frozen=True, slots=True)
class CloseRequest:
    """XENSND_OP_CLOSE."""

    id: int
    operation: ClassVar[Operation] = Operation.CLOSE

    def pack(self) -> bytes:
        return bytes(_REQUEST.pack({"id": self.id, "operation": self.operation}))


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """struct xensnd_rw_req: READ, WRITE, and the volume and mute operations (sndif.h N.B.)."""

    id: int
    operation: Operation
    offset_bytes: int
    length_bytes: int

    def pack(self) -> bytes:
        return bytes(
            _TRANSFER.pack(
                {
                    "id": self.id,
                    "operation": self.operation,
                    "offset_bytes": self.offset_bytes,
                    "length_bytes": self.length_bytes,
                }
            )
        )


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """XENSND_OP_TRIGGER. `type` is a number as received: it may be no Trigger."""

    id: int
    type: int
    operation: ClassVar[Operation] = Operation.TRIGGER

    def pack(self) -> bytes:
        values = {"id": self.id, "operation": self.operation, "type": self.type}
        return bytes(_TRIGGER.pack(values))


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """XENSND_OP_HW_PARAM_QUERY."""

    id: int
    space: Space
    operation: ClassVar[Operation] = Operation.HW_PARAM_QUERY

    def pack(self) -> bytes:
        values = {"id": self.id, "operation": self.operation} | _space_values(self.space)
        return bytes(_QUERY.pack(values))


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """An operation that sndif does not have: answered with -XEN_EOPNOTSUPP, not an offence."""

    id: int
    operation: int


Request: TypeAlias = (
    OpenRequest | CloseRequest | TransferRequest | TriggerRequest | QueryRequest | UnknownRequest
)

_TRANSFERS = frozenset(
    {
        Operation.READ,
        Operation.WRITE,
        Operation.SET_VOLUME,
        Operation.GET_VOLUME,
        Operation.MUTE,
        Operation.UNMUTE,
    }
)


def unpack_request(data: bytes) -> Request:
    """A copied request slot of REQUEST_BYTES bytes; PeerProtocolError for another length."""
    head = _REQUEST.unpack(data)
    number = head["id"]
    try:
        operation = Operation(head["operation"])
    except ValueError:
        return UnknownRequest(number, head["operation"])
    if operation in _TRANSFERS:
        values = _TRANSFER.unpack(data)
        return TransferRequest(number, operation, values["offset_bytes"], values["length_bytes"])
    if operation is Operation.OPEN:
        values = _OPEN.unpack(data)
        del values["operation"]
        return OpenRequest(**values)
    if operation is Operation.TRIGGER:
        return TriggerRequest(number, _TRIGGER.unpack(data)["type"])
    if operation is Operation.HW_PARAM_QUERY:
        return QueryRequest(number, _space_from(_QUERY.unpack(data)))
    return CloseRequest(number)


@dataclass(frozen=True, slots=True)
class Response:
    """struct xensnd_resp. `status` is any int: peers send foreign codes. `space` with a query's."""

    id: int
    operation: int
    status: int
    space: Space | None = None

    @property
    def ok(self) -> bool:
        return self.status == Status.OK

    def pack(self) -> bytes:
        values = {"id": self.id, "operation": self.operation, "status": self.status}
        if self.space is None:
            return bytes(_STATUS.pack(values))
        return bytes(_ANSWER.pack(values | _space_values(self.space)))


def respond(request: Request, status: int, space: Space | None = None) -> Response:
    """The answer to `request`: id and operation are copied (sndif.h Responses)."""
    return Response(request.id, request.operation, int(status), space)


def unpack_response(data: bytes) -> Response:
    """A copied response slot. PeerProtocolError: wrong length, or an operation nobody could ask."""
    values = _STATUS.unpack(data)
    try:
        operation = Operation(values["operation"])
    except ValueError:
        raise PeerProtocolError(f"response to operation {values['operation']}") from None
    space = None
    if operation is Operation.HW_PARAM_QUERY and values["status"] == Status.OK:
        space = _space_from(_ANSWER.unpack(data))
    return Response(values["id"], operation, values["status"], space)


@dataclass(frozen=True, slots=True)
class PositionExt:
    """What both sides' feature-position-ext adds to CUR_POS.

    `host_frames`: playback, what the host took and has not yet played; capture, the age of the
    newest readable frame since it reached the microphone. `host_frames_max`: the largest such
    value of the last second, which a frontend's lead must cover. `age_nsec`: how long before the
    event was queued the position was true. `time_nsec`: when it was queued, by the backend's
    clock; 0 if it does not say. `flags`: bit 0, the frontend may ask for no notification.
    """

    host_frames: int
    host_frames_max: int
    age_nsec: int
    time_nsec: int = 0
    flags: int = 0

    def pack(self) -> bytes:
        values = {
            "host_frames": self.host_frames,
            "host_frames_max": self.host_frames_max,
            "age_nsec": self.age_nsec,
            "time_low_nsec": self.time_nsec & 0xFFFFFFFF,
            "time_high_nsec": self.time_nsec >> 32,
            "flags": self.flags,
        }
        return bytes(_POSITION_EXT.pack(values))


def _position_ext_from(data: bytes) -> PositionExt:
    values = _POSITION_EXT.unpack(data)
    time_nsec = values["time_high_nsec"] << 32 | values["time_low_nsec"]
    needs = (values["host_frames"], values["host_frames_max"], values["age_nsec"])
    return PositionExt(*needs, time_nsec, values["flags"])


@dataclass(frozen=True, slots=True)
class PositionEvent:
    """XENSND_EVT_CUR_POS: bytes played, or ready to be read, since OPEN."""

    id: int
    position_bytes: int
    ext: PositionExt | None = None

    def pack(self) -> bytes:
        data = _CUR_POS.pack(
            {"id": self.id, "type": Event.CUR_POS, "position_bytes": self.position_bytes}
        )
        if self.ext is not None:
            data[_POSITION_EXT_PLACE : _POSITION_EXT_PLACE + _POSITION_EXT.size] = self.ext.pack()
        return bytes(data)


def unpack_event(data: bytes, *, position_ext: bool) -> PositionEvent:
    """A copied event slot; `position_ext`: both sides wrote the feature node.

    PeerProtocolError: wrong length, or an event that sndif does not have.
    """
    values = _CUR_POS.unpack(data)
    if values["type"] != Event.CUR_POS:
        raise PeerProtocolError(f"event of unknown type {values['type']}")
    ext = None
    if position_ext:
        ext = _position_ext_from(data[_POSITION_EXT_PLACE:][: _POSITION_EXT.size])
    return PositionEvent(values["id"], values["position_bytes"], ext)


# Volume and mute travel in the shared buffer (sndif.h, set/get volume and mute/unmute).
_VOLUME = struct.Struct("=i")


def pack_volumes(volumes: Sequence[int]) -> bytes:
    """One signed 32-bit number a channel, in steps of 0.001 dB."""
    try:
        return b"".join(_VOLUME.pack(volume) for volume in volumes)
    except struct.error:
        raise LocalProtocolError(f"volumes {list(volumes)} do not fit into 32 bits") from None


def unpack_volumes(data: bytes, channels: int) -> tuple[int, ...]:
    """The volumes of `channels` channels, in steps of 0.001 dB."""
    need = channels * _VOLUME.size
    if len(data) < need:
        raise PeerProtocolError(f"{len(data)} bytes of volume for {channels} channels")
    return tuple(number for (number,) in _VOLUME.iter_unpack(data[:need]))


def pack_mutes(channels: Sequence[bool]) -> bytes:
    """One byte a channel: whether the mute (or unmute) is meant for it."""
    return bytes(int(chosen) for chosen in channels)


def unpack_mutes(data: bytes, channels: int) -> tuple[bool, ...]:
    """The channels that a mute or unmute is meant for."""
    if len(data) < channels:
        raise PeerProtocolError(f"{len(data)} bytes of mute for {channels} channels")
    return tuple(bool(byte) for byte in data[:channels])


def transfer_control_bytes(operation: Operation, channels: int) -> int:
    """Bytes that a volume or mute operation needs in the buffer; 0 for READ and WRITE."""
    if operation in (Operation.SET_VOLUME, Operation.GET_VOLUME):
        return channels * _VOLUME.size
    if operation in (Operation.MUTE, Operation.UNMUTE):
        return channels
    return 0
