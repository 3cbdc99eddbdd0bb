"""What a guest may ask of one stream, and when: the backend's checks. Pure.

A table, PCM state x what is asked -> status, action, next state, and two ladders that check
numbers: those of OPEN, and offset and length. The data plane's C follows the same table for READ,
WRITE and TRIGGER; test_c_streams.py compares the two, cell by cell. What an honest frontend does is
allowed even where it is odd: Linux sends CLOSE when OPEN never happened and OPEN while open, and
asks queries at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from .card import StreamConfig
from .codes import Direction, Operation, PcmFormat, Status, Trigger
from .config_space import Interval
from .hwparams import MIN_PERIOD_BYTES, Config
from .packets import (
    OpenRequest,
    Request,
    TransferRequest,
    TriggerRequest,
    UnknownRequest,
    transfer_control_bytes,
)


class PcmState(Enum):
    """The protocol state of one stream."""

    CLOSED = "closed"
    OPEN = "open"  # prepared, or stopped
    RUNNING = "running"
    PAUSED = "paused"


class Asked(StrEnum):
    """What a request asks, as the table sees it."""

    OPEN = "open"
    CLOSE = "close"
    TRANSFER = "transfer"  # READ of a capture stream, WRITE of a playback stream
    WRONG_WAY = "wrong way"  # the other one
    CONTROL = "control"  # volume and mute, through the shared buffer
    QUERY = "query"
    START = "start"
    PAUSE = "pause"
    STOP = "stop"
    RESUME = "resume"
    BAD_TRIGGER = "bad trigger"  # a type that sndif does not have
    UNKNOWN = "unknown"  # an operation that sndif does not have


class PcmAction(StrEnum):
    """What the backend does before it answers."""

    NOTHING = "nothing"
    OPEN = "open"
    REOPEN = "reopen"  # close what is open, then open
    CLOSE = "close"
    TRANSFER = "transfer"
    CONTROL = "control"
    QUERY = "query"
    START = "start"
    PAUSE = "pause"
    STOP = "stop"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class PcmStep:
    """A cell: with status OK, do `action` and be `next`; if it fails, answer why and stay.

    The exception is REOPEN, whose close has happened even if its open fails: CLOSED then.
    """

    status: Status
    action: PcmAction
    next: PcmState


def _ok(action: PcmAction, state: PcmState) -> PcmStep:
    return PcmStep(Status.OK, action, state)


def _no(status: Status, state: PcmState) -> PcmStep:
    return PcmStep(status, PcmAction.NOTHING, state)


_CLOSED, _OPEN, _RUNNING, _PAUSED = PcmState

# Each trigger that asks for what is already so does nothing and succeeds.
BACKEND_PCM: Mapping[PcmState, Mapping[Asked, PcmStep]] = {
    _CLOSED: {
        Asked.OPEN: _ok(PcmAction.OPEN, _OPEN),
        Asked.CLOSE: _ok(PcmAction.NOTHING, _CLOSED),
        Asked.TRANSFER: _no(Status.EIO, _CLOSED),
        Asked.WRONG_WAY: _no(Status.EIO, _CLOSED),
        Asked.CONTROL: _no(Status.EIO, _CLOSED),
        Asked.QUERY: _ok(PcmAction.QUERY, _CLOSED),
        Asked.START: _no(Status.EIO, _CLOSED),
        Asked.PAUSE: _no(Status.EIO, _CLOSED),
        Asked.STOP: _no(Status.EIO, _CLOSED),
        Asked.RESUME: _no(Status.EIO, _CLOSED),
        Asked.BAD_TRIGGER: _no(Status.EINVAL, _CLOSED),
        Asked.UNKNOWN: _no(Status.EOPNOTSUPP, _CLOSED),
    },
    _OPEN: {
        Asked.OPEN: _ok(PcmAction.REOPEN, _OPEN),
        Asked.CLOSE: _ok(PcmAction.CLOSE, _CLOSED),
        Asked.TRANSFER: _ok(PcmAction.TRANSFER, _OPEN),
        Asked.WRONG_WAY: _no(Status.EINVAL, _OPEN),
        Asked.CONTROL: _ok(PcmAction.CONTROL, _OPEN),
        Asked.QUERY: _ok(PcmAction.QUERY, _OPEN),
        Asked.START: _ok(PcmAction.START, _RUNNING),
        Asked.PAUSE: _no(Status.EINVAL, _OPEN),
        Asked.STOP: _ok(PcmAction.NOTHING, _OPEN),
        Asked.RESUME: _no(Status.EINVAL, _OPEN),
        Asked.BAD_TRIGGER: _no(Status.EINVAL, _OPEN),
        Asked.UNKNOWN: _no(Status.EOPNOTSUPP, _OPEN),
    },
    _RUNNING: {
        Asked.OPEN: _ok(PcmAction.REOPEN, _OPEN),
        Asked.CLOSE: _ok(PcmAction.CLOSE, _CLOSED),
        Asked.TRANSFER: _ok(PcmAction.TRANSFER, _RUNNING),
        Asked.WRONG_WAY: _no(Status.EINVAL, _RUNNING),
        Asked.CONTROL: _ok(PcmAction.CONTROL, _RUNNING),
        Asked.QUERY: _ok(PcmAction.QUERY, _RUNNING),
        Asked.START: _ok(PcmAction.NOTHING, _RUNNING),
        Asked.PAUSE: _ok(PcmAction.PAUSE, _PAUSED),
        Asked.STOP: _ok(PcmAction.STOP, _OPEN),
        Asked.RESUME: _ok(PcmAction.NOTHING, _RUNNING),
        Asked.BAD_TRIGGER: _no(Status.EINVAL, _RUNNING),
        Asked.UNKNOWN: _no(Status.EOPNOTSUPP, _RUNNING),
    },
    _PAUSED: {
        Asked.OPEN: _ok(PcmAction.REOPEN, _OPEN),
        Asked.CLOSE: _ok(PcmAction.CLOSE, _CLOSED),
        Asked.TRANSFER: _ok(PcmAction.TRANSFER, _PAUSED),
        Asked.WRONG_WAY: _no(Status.EINVAL, _PAUSED),
        Asked.CONTROL: _ok(PcmAction.CONTROL, _PAUSED),
        Asked.QUERY: _ok(PcmAction.QUERY, _PAUSED),
        Asked.START: _ok(PcmAction.RESUME, _RUNNING),
        Asked.PAUSE: _ok(PcmAction.NOTHING, _PAUSED),
        Asked.STOP: _ok(PcmAction.STOP, _OPEN),
        Asked.RESUME: _ok(PcmAction.RESUME, _RUNNING),
        Asked.BAD_TRIGGER: _no(Status.EINVAL, _PAUSED),
        Asked.UNKNOWN: _no(Status.EOPNOTSUPP, _PAUSED),
    },
}

_TRIGGERS: Mapping[int, Asked] = {
    Trigger.START: Asked.START,
    Trigger.PAUSE: Asked.PAUSE,
    Trigger.STOP: Asked.STOP,
    Trigger.RESUME: Asked.RESUME,
}
_OPERATIONS = {
    Operation.OPEN: Asked.OPEN,
    Operation.CLOSE: Asked.CLOSE,
    Operation.SET_VOLUME: Asked.CONTROL,
    Operation.GET_VOLUME: Asked.CONTROL,
    Operation.MUTE: Asked.CONTROL,
    Operation.UNMUTE: Asked.CONTROL,
    Operation.HW_PARAM_QUERY: Asked.QUERY,
}


def asked(request: Request, direction: Direction) -> Asked:
    """What `request` asks of a stream of this direction."""
    if isinstance(request, UnknownRequest):
        return Asked.UNKNOWN
    if isinstance(request, TriggerRequest):
        return _TRIGGERS.get(request.type, Asked.BAD_TRIGGER)
    if request.operation in (Operation.READ, Operation.WRITE):
        reads = request.operation is Operation.READ
        return Asked.TRANSFER if reads == (direction is Direction.CAPTURE) else Asked.WRONG_WAY
    return _OPERATIONS[request.operation]


def backend_step(state: PcmState, request: Request, direction: Direction) -> PcmStep:
    """The table's cell for `request`; the numbers in it are checked by the ladders below."""
    return BACKEND_PCM[state][asked(request, direction)]


def validate_open(request: OpenRequest, config: StreamConfig) -> Status:
    """Whether OPEN may be done, from zero, as if no query had ever been answered.

    The period may be 0 (no position events) and may be as long as the buffer, which harms only the
    guest; a period so short that events would flood the host is refused.
    """
    try:
        fmt = PcmFormat(request.format)
    except ValueError:
        return Status.EINVAL
    if fmt not in config.formats or not fmt.sample_bytes:
        return Status.EINVAL
    if not allows_rate(config, request.rate) or request.channels not in config.channels:
        return Status.EINVAL
    frame_bytes = fmt.sample_bytes * request.channels
    if not 0 < request.buffer_bytes <= config.buffer_bytes or request.buffer_bytes % frame_bytes:
        return Status.EINVAL
    if request.period_bytes % frame_bytes or request.period_bytes > request.buffer_bytes:
        return Status.EINVAL
    if 0 < request.period_bytes < MIN_PERIOD_BYTES or not request.gref_directory:
        return Status.EINVAL
    return Status.OK


def allows_rate(config: StreamConfig, rate: int) -> bool:
    """Whether `rate` is one of the stream's; a rate of 0 never is."""
    if isinstance(config.rates, Interval):
        return rate > 0 and rate in config.rates
    return rate in config.rates


def opened_config(request: OpenRequest) -> Config:
    """What a validated OPEN opens; period_frames 0 stands for no position events."""
    fmt = PcmFormat(request.format)
    frame_bytes = (fmt.sample_bytes or 0) * request.channels
    return Config(
        fmt,
        request.rate,
        request.channels,
        request.period_bytes // frame_bytes,
        request.buffer_bytes // frame_bytes,
    )


def validate_transfer(request: TransferRequest, config: Config) -> Status:
    """Whether offset and length lie in the open buffer: offset < size, length <= size - offset.

    READ and WRITE move whole frames; volume and mute need room for every channel.
    """
    if request.offset_bytes >= config.buffer_bytes:
        return Status.EINVAL
    if request.length_bytes > config.buffer_bytes - request.offset_bytes:
        return Status.EINVAL
    needed = transfer_control_bytes(request.operation, config.channels)
    if needed:
        return Status.OK if request.length_bytes >= needed else Status.EINVAL
    if request.offset_bytes % config.frame_bytes or request.length_bytes % config.frame_bytes:
        return Status.EINVAL
    return Status.OK
