"""stream_rules.py: every cell of the backend's table, the ladders, the frontend's requests."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenpvaudio.sndif.card import StreamConfig
from xenpvaudio.sndif.codes import Direction, Operation, PcmFormat, Status, Trigger
from xenpvaudio.sndif.config_space import Interval, Space
from xenpvaudio.sndif.hwparams import Config, Preferences, choose
from xenpvaudio.sndif.hwparams import Limits as HwLimits
from xenpvaudio.sndif.packets import (
    CloseRequest,
    OpenRequest,
    QueryRequest,
    Request,
    TransferRequest,
    TriggerRequest,
    UnknownRequest,
    unpack_request,
)
from xenpvaudio.sndif.stream_rules import (
    BACKEND_PCM,
    Asked,
    PcmAction,
    PcmState,
    PcmStep,
    allows_rate,
    asked,
    backend_step,
    opened_config,
    validate_open,
    validate_transfer,
)

PLAY, CAPTURE = Direction.PLAYBACK, Direction.CAPTURE
SPACE = Space(4, *[Interval(1, 2)] * 4)

# Each cell: status, or for OK the action and the next state. "." does nothing and stays.
CELLS = """
             CLOSED       OPEN            RUNNING         PAUSED
OPEN         OPEN>OPEN    REOPEN>OPEN     REOPEN>OPEN     REOPEN>OPEN
CLOSE        .            CLOSE>CLOSED    CLOSE>CLOSED    CLOSE>CLOSED
TRANSFER     EIO          TRANSFER>OPEN   TRANSFER>RUNNING TRANSFER>PAUSED
WRONG_WAY    EIO          EINVAL          EINVAL          EINVAL
CONTROL      EIO          CONTROL>OPEN    CONTROL>RUNNING CONTROL>PAUSED
QUERY        QUERY>CLOSED QUERY>OPEN      QUERY>RUNNING   QUERY>PAUSED
START        EIO          START>RUNNING   .               RESUME>RUNNING
PAUSE        EIO          EINVAL          PAUSE>PAUSED    .
STOP         EIO          .               STOP>OPEN       STOP>OPEN
RESUME       EIO          EINVAL          .               RESUME>RUNNING
BAD_TRIGGER  EINVAL       EINVAL          EINVAL          EINVAL
UNKNOWN      EOPNOTSUPP   EOPNOTSUPP      EOPNOTSUPP      EOPNOTSUPP
"""


def read_cells() -> dict[tuple[PcmState, Asked], str]:
    head, *lines = CELLS.strip().splitlines()
    states = [PcmState[name] for name in head.split()]
    rows = [line.split() for line in lines]
    return {
        (state, Asked[name]): cell
        for name, *row in rows
        for state, cell in zip(states, row, strict=True)
    }


@pytest.mark.parametrize(("at", "cell"), read_cells().items(), ids=str)
def test_cell(at: tuple[PcmState, Asked], cell: str) -> None:
    state, what = at
    if cell == ".":
        expected = PcmStep(Status.OK, PcmAction.NOTHING, state)
    elif ">" in cell:
        action, following = cell.split(">")
        expected = PcmStep(Status.OK, PcmAction[action], PcmState[following])
    else:
        expected = PcmStep(Status[cell], PcmAction.NOTHING, state)
    assert BACKEND_PCM[state][what] == expected


def test_the_expected_table_leaves_out_no_cell() -> None:
    assert set(read_cells()) == {(state, what) for state in PcmState for what in Asked}


def transfer(operation: Operation, offset: int = 0, length: int = 0) -> TransferRequest:
    return TransferRequest(1, operation, offset, length)


@pytest.mark.parametrize(
    ("request_", "direction", "what"),
    [
        (OpenRequest(1, 48000, 2, 2, 4096, 8, 0), PLAY, Asked.OPEN),
        (CloseRequest(1), PLAY, Asked.CLOSE),
        (transfer(Operation.WRITE), PLAY, Asked.TRANSFER),
        (transfer(Operation.READ), CAPTURE, Asked.TRANSFER),
        (transfer(Operation.READ), PLAY, Asked.WRONG_WAY),
        (transfer(Operation.WRITE), CAPTURE, Asked.WRONG_WAY),
        (transfer(Operation.SET_VOLUME), PLAY, Asked.CONTROL),
        (transfer(Operation.GET_VOLUME), CAPTURE, Asked.CONTROL),
        (transfer(Operation.MUTE), PLAY, Asked.CONTROL),
        (transfer(Operation.UNMUTE), CAPTURE, Asked.CONTROL),
        (QueryRequest(1, SPACE), PLAY, Asked.QUERY),
        (TriggerRequest(1, Trigger.START), PLAY, Asked.START),
        (TriggerRequest(1, Trigger.PAUSE), PLAY, Asked.PAUSE),
        (TriggerRequest(1, Trigger.STOP), PLAY, Asked.STOP),
        (TriggerRequest(1, Trigger.RESUME), PLAY, Asked.RESUME),
        (TriggerRequest(1, 4), PLAY, Asked.BAD_TRIGGER),
        (UnknownRequest(1, 10), PLAY, Asked.UNKNOWN),
    ],
)
def test_requests_are_sorted_by_what_they_ask(
    request_: Request, direction: Direction, what: Asked
) -> None:
    assert asked(request_, direction) is what


@given(st.binary(min_size=64, max_size=64), st.sampled_from(PcmState), st.sampled_from(Direction))
def test_any_slot_in_any_state_has_an_answer(
    slot: bytes, state: PcmState, direction: Direction
) -> None:
    step = backend_step(state, unpack_request(slot), direction)
    assert step.status is Status.OK or step.next is state


def walk(*requests: Request, direction: Direction = PLAY) -> list[tuple[Status, PcmState]]:
    state, seen = PcmState.CLOSED, []
    for request in requests:
        step = backend_step(state, request, direction)
        state = step.next
        seen.append((step.status, state))
    return seen


OPENING = OpenRequest(1, 48000, PcmFormat.S16_LE, 2, 16384, 8, 4096)
START, STOP = TriggerRequest(1, Trigger.START), TriggerRequest(1, Trigger.STOP)
PAUSE, RESUME = TriggerRequest(1, Trigger.PAUSE), TriggerRequest(1, Trigger.RESUME)


def test_close_without_open_succeeds() -> None:
    """Linux sends CLOSE at hw_free even if OPEN never happened."""
    assert walk(CloseRequest(1), CloseRequest(1)) == [(Status.OK, PcmState.CLOSED)] * 2


def test_open_twice_reopens() -> None:
    """Linux's repeated hw_params frees the buffer without CLOSE and opens again."""
    assert walk(OPENING, START, OPENING) == [
        (Status.OK, PcmState.OPEN),
        (Status.OK, PcmState.RUNNING),
        (Status.OK, PcmState.OPEN),
    ]


def test_write_before_open_fails_and_changes_nothing() -> None:
    """It crashes snd_be, for everybody."""
    assert walk(transfer(Operation.WRITE, 0, 64)) == [(Status.EIO, PcmState.CLOSED)]
    assert walk(START) == [(Status.EIO, PcmState.CLOSED)]


def test_queries_are_answered_at_any_time() -> None:
    for state in PcmState:
        step = backend_step(state, QueryRequest(1, SPACE), PLAY)
        assert (step.status, step.action, step.next) == (Status.OK, PcmAction.QUERY, state)


def test_suspend_pauses_and_resumes() -> None:
    """Linux maps suspend to PAUSE and RESUME."""
    states = [state for _, state in walk(OPENING, START, PAUSE, RESUME, STOP, CloseRequest(1))]
    assert [state.name for state in states] == [
        "OPEN", "RUNNING", "PAUSED", "RUNNING", "OPEN", "CLOSED",
    ]  # fmt: skip


def test_stop_prepare_start_needs_no_new_open() -> None:
    assert walk(OPENING, START, STOP, START)[-1] == (Status.OK, PcmState.RUNNING)


# --- OPEN -----------------------------------------------------------------------------------------

STREAM = StreamConfig(
    0,
    0,
    PLAY,
    "",
    (PcmFormat.S16_LE, PcmFormat.S24_LE, PcmFormat.MPEG),
    (44100, 48000),
    Interval(2, 6),
    65536,
)


def test_a_sane_open_is_accepted_without_any_query_before() -> None:
    assert validate_open(OPENING, STREAM) is Status.OK
    assert opened_config(OPENING) == Config(PcmFormat.S16_LE, 48000, 2, 1024, 4096)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 25},
        {"format": 255},
        {"format": PcmFormat.F32_LE},  # not configured
        {"format": PcmFormat.MPEG},  # configured, but has no frames
        {"rate": 0},
        {"rate": 46000},  # between the listed ones
        {"rate": 2**32 - 1},
        {"channels": 0},
        {"channels": 1},
        {"channels": 7},
        {"channels": 255},
        {"buffer_bytes": 0},
        {"buffer_bytes": 65540},
        {"buffer_bytes": 2**32 - 4},  # snd_be accepts 4 GiB
        {"buffer_bytes": 16383},
        {"buffer_bytes": 16386},
        {"period_bytes": 4098},
        {"period_bytes": 16388},
        {"period_bytes": 2**32 - 4},
        {"period_bytes": 60},  # events would flood the host
        {"gref_directory": 0},
    ],
)
def test_open_outside_of_the_configuration_is_refused(change: dict[str, int]) -> None:
    assert validate_open(replace(OPENING, **change), STREAM) is Status.EINVAL


@pytest.mark.parametrize(
    "change",
    [
        {"period_bytes": 0},  # no position events wanted
        {"period_bytes": 64},
        {"period_bytes": 16384},  # one period a buffer harms only the guest
        {"period_bytes": 12000},  # the buffer need not be whole periods
        {"buffer_bytes": 65536},
        {"format": PcmFormat.S24_LE, "channels": 6, "buffer_bytes": 4800, "period_bytes": 240},
    ],
)
def test_open_that_is_odd_but_harmless_is_accepted(change: dict[str, int]) -> None:
    assert validate_open(replace(OPENING, **change), STREAM) is Status.OK


def test_unlisted_rates_are_linux_frontends_continuous_range() -> None:
    unset = StreamConfig(0, 0, PLAY)
    assert allows_rate(unset, 22000)
    assert allows_rate(unset, 5512)
    assert not allows_rate(unset, 5511)
    assert not allows_rate(unset, 48001)
    assert not allows_rate(replace(unset, rates=Interval(0, 9)), 0)


@given(
    st.builds(
        OpenRequest,
        *[st.integers(0, 0xFFFF), st.sampled_from([0, 44100, 48000]), st.integers(0, 26)],
        *[st.integers(0, 8), st.integers(0, 70000), st.integers(0, 2), st.integers(0, 70000)],
    )
)
def test_what_open_accepts_is_whole_frames_within_the_limits(request_: OpenRequest) -> None:
    if validate_open(request_, STREAM) is not Status.OK:
        return
    config = opened_config(request_)
    assert config.buffer_bytes == request_.buffer_bytes
    assert 0 < config.buffer_bytes <= STREAM.buffer_bytes
    assert config.period_bytes == request_.period_bytes <= config.buffer_bytes
    assert config.channels in STREAM.channels


@given(
    st.permutations(list(PcmFormat)),
    st.integers(1, 200000),
    st.integers(1, 255),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
)
def test_what_choose_ends_with_can_be_opened(
    formats: list[PcmFormat], rate: int, channels: int, period: int, buffer: int
) -> None:
    plan = choose(HwLimits.of(STREAM), Preferences(formats, rate, channels, period, buffer))
    query = next(plan)
    try:
        while True:
            query = plan.send(query)
    except StopIteration as end:
        config = end.value
    opening = OpenRequest(
        *[1, config.rate, config.format, config.channels],
        *[config.buffer_bytes, 8, config.period_bytes],
    )
    assert validate_open(opening, STREAM) is Status.OK
    assert opened_config(opening) == config


# --- offset and length ----------------------------------------------------------------------------

OPENED = Config(PcmFormat.S16_LE, 48000, 2, 1024, 4096)  # 16384 bytes, frames of 4


@pytest.mark.parametrize(
    ("offset", "length", "status"),
    [
        (0, 16384, Status.OK),
        (16380, 4, Status.OK),
        (0, 0, Status.OK),
        (16384, 0, Status.EINVAL),  # offset must be below the size
        (16380, 8, Status.EINVAL),  # past the end
        (4, 16384, Status.EINVAL),
        (8, 2**32 - 4, Status.EINVAL),  # the sum wraps in 32 bits
        (2**32 - 4, 8, Status.EINVAL),
        (2, 4, Status.EINVAL),  # half a frame
        (0, 6, Status.EINVAL),
    ],
)
@pytest.mark.parametrize("operation", [Operation.READ, Operation.WRITE])
def test_backend_rejects_transfers_outside_of_the_buffer_or_in_part_frames(
    operation: Operation, offset: int, length: int, status: Status
) -> None:
    assert validate_transfer(transfer(operation, offset, length), OPENED) is status


@pytest.mark.parametrize(
    ("operation", "offset", "length", "status"),
    [
        (Operation.SET_VOLUME, 0, 8, Status.OK),
        (Operation.SET_VOLUME, 16376, 8, Status.OK),
        (Operation.GET_VOLUME, 1, 9, Status.OK),
        (Operation.SET_VOLUME, 0, 7, Status.EINVAL),
        (Operation.SET_VOLUME, 16380, 8, Status.EINVAL),
        (Operation.MUTE, 16382, 2, Status.OK),
        (Operation.MUTE, 0, 1, Status.EINVAL),
        (Operation.UNMUTE, 16384, 2, Status.EINVAL),
    ],
)
def test_volume_and_mute_need_room_for_each_channel(
    operation: Operation, offset: int, length: int, status: Status
) -> None:
    assert validate_transfer(transfer(operation, offset, length), OPENED) is status


@given(
    st.sampled_from([op for op in Operation if 2 <= op <= 7]),
    st.integers(0, 2**32 - 1) | st.integers(0, 20000),
    st.integers(0, 2**32 - 1) | st.integers(0, 20000),
)
def test_an_accepted_transfer_lies_in_the_buffer(op: Operation, offset: int, length: int) -> None:
    if validate_transfer(transfer(op, offset, length), OPENED) is Status.OK:
        assert 0 <= offset < offset + max(length, 1) <= OPENED.buffer_bytes
