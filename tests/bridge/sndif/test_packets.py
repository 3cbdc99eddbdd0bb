"""packets.py against the byte diagrams of sndif.h, whose places are typed here a second time."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenpvaudio.errors import LocalProtocolError, PeerProtocolError
from xenpvaudio.sndif.codes import Operation, PcmFormat, Status, Trigger
from xenpvaudio.sndif.config_space import Interval, Space
from xenpvaudio.sndif.packets import (
    EVENT_BYTES,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    CloseRequest,
    OpenRequest,
    PositionEvent,
    PositionExt,
    QueryRequest,
    Request,
    Response,
    TransferRequest,
    TriggerRequest,
    UnknownRequest,
    pack_mutes,
    pack_volumes,
    respond,
    transfer_control_bytes,
    unpack_event,
    unpack_mutes,
    unpack_request,
    unpack_response,
    unpack_volumes,
)

U8, U16 = st.integers(0, 0xFF), st.integers(0, 0xFFFF)
U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
TRANSFERS = [op for op in Operation if 2 <= op <= 7]

SPACE = Space(
    0x1_0000_0004, Interval(8000, 48000), Interval(1, 2), Interval(64, 9000), Interval(32, 4500)
)
SPACE_BYTES = struct.pack("=Q8I", 0x1_0000_0004, 8000, 48000, 1, 2, 64, 9000, 32, 4500)


def padded(head: bytes) -> bytes:
    return head + bytes(64 - len(head))


def test_packets_are_64_bytes() -> None:
    assert (REQUEST_BYTES, RESPONSE_BYTES, EVENT_BYTES) == (64, 64, 64)


REQUESTS: list[tuple[Request, bytes]] = [
    (
        OpenRequest(0xABCD, 44100, PcmFormat.S24_LE, 6, 65520, 386, 4096),
        struct.pack("=HB5xIBB2xIII", 0xABCD, 0, 44100, 6, 6, 65520, 386, 4096),
    ),
    (CloseRequest(7), struct.pack("=HB", 7, 1)),
    (TransferRequest(1, Operation.READ, 512, 128), struct.pack("=HB5xII", 1, 2, 512, 128)),
    (TransferRequest(2, Operation.WRITE, 0, 64), struct.pack("=HB5xII", 2, 3, 0, 64)),
    (TransferRequest(3, Operation.SET_VOLUME, 0, 8), struct.pack("=HB5xII", 3, 4, 0, 8)),
    (TransferRequest(4, Operation.GET_VOLUME, 0, 8), struct.pack("=HB5xII", 4, 5, 0, 8)),
    (TransferRequest(5, Operation.MUTE, 4, 2), struct.pack("=HB5xII", 5, 6, 4, 2)),
    (TransferRequest(6, Operation.UNMUTE, 4, 2), struct.pack("=HB5xII", 6, 7, 4, 2)),
    (TriggerRequest(8, Trigger.RESUME), struct.pack("=HB5xB", 8, 8, 3)),
    (QueryRequest(9, SPACE), struct.pack("=HB5x", 9, 9) + SPACE_BYTES),
]


@pytest.mark.parametrize(("request_", "head"), REQUESTS, ids=lambda value: type(value).__name__)
def test_requests_are_laid_out_as_in_the_header(request_: Request, head: bytes) -> None:
    assert not isinstance(request_, UnknownRequest)
    assert request_.pack() == padded(head)
    assert unpack_request(padded(head)) == request_


def test_the_listed_requests_cover_every_operation() -> None:
    assert {request.operation for request, _ in REQUESTS} == set(Operation)


def test_linux_frontend_leaves_reserved_bytes_dirty_and_is_understood() -> None:
    clean = TransferRequest(1, Operation.WRITE, 512, 128)
    filled = bytearray(b"\xff" * 64)
    filled[0:3], filled[8:16] = clean.pack()[0:3], clean.pack()[8:16]
    assert unpack_request(bytes(filled)) == clean


def test_unknown_operation_can_still_be_answered() -> None:
    request = unpack_request(padded(struct.pack("=HB", 77, 200)))
    assert request == UnknownRequest(77, 200)
    answer = respond(request, Status.EOPNOTSUPP).pack()
    assert answer == padded(struct.pack("=HBxi", 77, 200, -95))


def test_unknown_format_and_trigger_are_passed_on_to_the_checks() -> None:
    opening = unpack_request(padded(struct.pack("=HB5xIB", 1, 0, 48000, 99)))
    assert isinstance(opening, OpenRequest)
    assert opening.format == 99
    assert unpack_request(padded(struct.pack("=HB5xB", 1, 8, 250))) == TriggerRequest(1, 250)


@pytest.mark.parametrize("size", [0, 63, 65, 4096])
def test_slots_of_another_size_are_refused(size: int) -> None:
    data = bytes(size)
    with pytest.raises(PeerProtocolError, match=f"of {size} bytes, not 64"):
        unpack_request(data)
    with pytest.raises(PeerProtocolError, match=f"of {size} bytes"):
        unpack_response(data)
    with pytest.raises(PeerProtocolError, match=f"of {size} bytes"):
        unpack_event(data, position_ext=False)


def test_values_that_do_not_fit_are_our_own_bug() -> None:
    with pytest.raises(LocalProtocolError, match="id 65536"):
        CloseRequest(0x10000).pack()
    with pytest.raises(LocalProtocolError, match="buffer_bytes -1"):
        OpenRequest(0, 48000, 2, 2, -1, 1, 0).pack()
    with pytest.raises(LocalProtocolError, match="host_frames 4294967296 does not fit"):
        PositionEvent(0, 0, PositionExt(2**32, 0, 0)).pack()


def test_responses_are_laid_out_as_in_the_header() -> None:
    plain = Response(0x1234, Operation.WRITE, Status.EINVAL)
    assert plain.pack() == padded(struct.pack("=HBxi", 0x1234, 3, -22))
    assert unpack_response(plain.pack()) == plain
    answer = Response(5, Operation.HW_PARAM_QUERY, 0, SPACE)
    assert answer.pack() == padded(struct.pack("=HBxi", 5, 9, 0) + SPACE_BYTES)
    assert unpack_response(answer.pack()) == answer


def test_respond_copies_id_and_operation_of_any_request_id() -> None:
    """Linux's request ids restart and repeat: they are echoed, nothing more."""
    for number in (0, 0, 0xFFFF, 1):
        answer = respond(CloseRequest(number), Status.OK)
        assert (answer.id, answer.operation, answer.ok) == (number, Operation.CLOSE, True)


@pytest.mark.parametrize("status", [7, -7, 2**31 - 1, -(2**31), -4711])
def test_foreign_status_codes_are_failures_not_offences(status: int) -> None:
    """snd_be sends PulseAudio's own codes as statuses."""
    response = unpack_response(padded(struct.pack("=HBxi", 1, 0, status)))
    assert response.status == status
    assert not response.ok


def test_failed_query_carries_no_space() -> None:
    packet = padded(struct.pack("=HBxi", 5, 9, -22) + SPACE_BYTES)
    assert unpack_response(packet).space is None


def test_response_to_an_impossible_operation_is_refused() -> None:
    with pytest.raises(PeerProtocolError, match="operation 10"):
        unpack_response(padded(struct.pack("=HB", 1, 10)))


def test_position_event_is_laid_out_as_in_the_header() -> None:
    event = PositionEvent(0xFFFF, 2**40 + 3)
    assert event.pack() == padded(struct.pack("=HB5xQ", 0xFFFF, 0, 2**40 + 3))
    assert unpack_event(event.pack(), position_ext=False) == event


def test_position_extension_follows_the_position() -> None:
    event = PositionEvent(1, 4096, PositionExt(480, 960, 250_000, 2**40 + 5, 1))
    fields = (1, 0, 4096, 480, 960, 250_000, 2**40 + 5, 1)
    assert event.pack() == padded(struct.pack("=HB5xQIIIQI", *fields))
    assert unpack_event(event.pack(), position_ext=True) == event


def test_position_extension_is_ignored_unless_negotiated() -> None:
    event = PositionEvent(1, 4096, PositionExt(480, 960, 250_000))
    assert unpack_event(event.pack(), position_ext=False).ext is None


def test_unknown_event_is_refused() -> None:
    with pytest.raises(PeerProtocolError, match="unknown type 1"):
        unpack_event(padded(struct.pack("=HB", 0, 1)), position_ext=True)


intervals = st.builds(Interval, U32, U32)
spaces = st.builds(Space, U64, intervals, intervals, intervals, intervals)
requests = st.one_of(
    st.builds(OpenRequest, U16, U32, U8, U8, U32, U32, U32),
    st.builds(CloseRequest, U16),
    st.builds(TransferRequest, U16, st.sampled_from(TRANSFERS), U32, U32),
    st.builds(TriggerRequest, U16, U8),
    st.builds(QueryRequest, U16, spaces),
)


@given(requests)
def test_every_request_comes_back_as_it_was_packed(request_: Request) -> None:
    assert not isinstance(request_, UnknownRequest)
    assert unpack_request(request_.pack()) == request_


@given(st.binary(min_size=64, max_size=64))
def test_any_request_slot_of_a_hostile_guest_can_be_answered(slot: bytes) -> None:
    request = unpack_request(slot)
    answer = respond(request, Status.EINVAL).pack()
    assert answer[:3] == slot[:3]


@given(U16, spaces)
def test_query_answers_come_back_as_they_were_packed(number: int, space: Space) -> None:
    answer = Response(number, Operation.HW_PARAM_QUERY, 0, space)
    assert unpack_response(answer.pack()) == answer


@given(U16, U64, st.none() | st.builds(PositionExt, U32, U32, U32, U64, U32))
def test_events_come_back_as_they_were_packed(
    number: int, position: int, ext: PositionExt | None
) -> None:
    event = PositionEvent(number, position, ext)
    assert unpack_event(event.pack(), position_ext=ext is not None) == event


def test_volumes_are_signed_thousandths_of_a_decibel() -> None:
    data = pack_volumes([0, -6000, 1000])
    assert data == struct.pack("=iii", 0, -6000, 1000)
    assert unpack_volumes(data + b"rest of the buffer", 3) == (0, -6000, 1000)
    with pytest.raises(PeerProtocolError, match="8 bytes of volume for 3 channels"):
        unpack_volumes(data[:8], 3)
    with pytest.raises(LocalProtocolError):
        pack_volumes([2**31])


def test_mutes_choose_channels_one_byte_each() -> None:
    assert pack_mutes([True, False]) == b"\x01\x00"
    assert unpack_mutes(b"\x00\x7f\x00", 2) == (False, True)
    with pytest.raises(PeerProtocolError):
        unpack_mutes(b"\x01", 2)


def test_control_operations_need_room_for_each_channel() -> None:
    needs = {op: transfer_control_bytes(op, 6) for op in TRANSFERS}
    assert needs == {
        Operation.READ: 0,
        Operation.WRITE: 0,
        Operation.SET_VOLUME: 24,
        Operation.GET_VOLUME: 24,
        Operation.MUTE: 6,
        Operation.UNMUTE: 6,
    }


def test_space_covers_its_parts_and_not_its_neighbours() -> None:
    assert SPACE.covers(SPACE)
    assert not SPACE.covers(Space(1, *(Interval(n.min, n.max) for n in intervals_of(SPACE))))
    wider = Interval(SPACE.rates.min, SPACE.rates.max + 1)
    assert not SPACE.covers(
        Space(SPACE.formats, wider, SPACE.channels, SPACE.buffer_frames, SPACE.period_frames)
    )


def intervals_of(space: Space) -> tuple[Interval, Interval, Interval, Interval]:
    return space.rates, space.channels, space.buffer_frames, space.period_frames


def test_interval_with_min_past_max_is_empty() -> None:
    assert not Interval(2, 1)
    assert Interval(2, 2)
    assert 2 not in Interval(3, 1)
    assert Interval(1, 5) & Interval(4, 9) == Interval(4, 5)
    assert [Interval(3, 5).nearest(n) for n in (1, 4, 9)] == [3, 4, 5]
