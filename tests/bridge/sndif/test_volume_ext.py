"""The volume extension's event: packed and unpacked, and what may not be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenpvaudio.errors import PeerProtocolError
from xenpvaudio.sndif.packets import EVENT_BYTES, PositionEvent
from xenpvaudio.sndif.volume_ext import (
    EVENT_TYPE,
    MAX_CHANNELS,
    MUTE_CHANGED,
    VOLUME_CHANGED,
    VolumeEvent,
    unpack_volume_event,
)

CHANNELS = st.integers(0, MAX_CHANNELS)
STEPS = st.integers(-(2**31), 2**31 - 1)


@st.composite
def events(draw: st.DrawFn) -> VolumeEvent:
    count = draw(CHANNELS)
    steps = draw(st.lists(STEPS, min_size=count, max_size=count))
    muted = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    changed = draw(st.integers(0, VOLUME_CHANGED | MUTE_CHANGED))
    return VolumeEvent(changed, draw(st.booleans()), (*steps,), (*muted,))


@given(events())
def test_events_come_back_as_they_were_packed(event: VolumeEvent) -> None:
    packet = event.pack()
    assert len(packet) == EVENT_BYTES
    assert unpack_volume_event(packet) == event


def test_an_event_lies_where_the_document_says() -> None:
    packet = VolumeEvent(MUTE_CHANGED, True, (-6000, 1), (False, True)).pack()
    assert packet[:8] == bytes([0, 0, EVENT_TYPE, 0, 0, 0, 0, 0])
    assert packet[8:12] == bytes([2, 1, 2, 0])
    assert packet[12:16] == (2).to_bytes(4, "little")
    assert packet[16:24] == (-6000).to_bytes(4, "little", signed=True) + b"\1\0\0\0"
    assert not any(packet[24:])


@given(st.binary(min_size=EVENT_BYTES, max_size=EVENT_BYTES))
def test_whatever_a_backend_sends_is_an_event_of_at_most_12_channels_or_an_error(
    slot: bytes,
) -> None:
    slot = slot[:2] + bytes([EVENT_TYPE]) + slot[3:]
    try:
        event = unpack_volume_event(slot)
    except PeerProtocolError as error:
        assert "channels" in str(error)
    else:
        assert len(event.steps) == len(event.muted) <= MAX_CHANNELS


def test_a_position_is_no_volume() -> None:
    with pytest.raises(PeerProtocolError, match="none of a volume"):
        unpack_volume_event(PositionEvent(1, 4096).pack())
