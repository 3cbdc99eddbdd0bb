"""What a query costs, and that it offers no period with more events than may come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xenpvaudio.sndif import hwparams
from xenpvaudio.sndif.card import StreamConfig
from xenpvaudio.sndif.codes import Direction, PcmFormat, Status
from xenpvaudio.sndif.config_space import Interval, Space
from xenpvaudio.sndif.hwparams import Limits, answer, from_stream_config, refine

EVERY = Interval(0, 2**32 - 1)
ALL = 2**64 - 1
FORMATS = (PcmFormat.S16_LE, PcmFormat.S32_LE, PcmFormat.F32_LE)
STREAM = StreamConfig(
    0, 0, Direction.PLAYBACK, "", FORMATS, (44100, 48000, 96000), Interval(1, 8), 65536
)


def fixed(number: int) -> Interval:
    return Interval(number, number)


WIDEST = replace(STREAM, formats=tuple(PcmFormat), channels=Interval(1, 255), buffer_bytes=1 << 20)


@pytest.mark.parametrize("buffer_bytes", [100, 127, 1 << 12, 1 << 16, 1 << 20])
@pytest.mark.parametrize("longest", [1, 2, 64, 2**32 - 1])
def test_a_query_costs_little_whatever_it_asks_for(
    buffer_bytes: int, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """255 channels of every format: each pair of width and count, which are 1020, is not tried."""
    tried = 0
    frames = hwparams._Possible.frames

    def counted(self: hwparams._Possible, count: int) -> tuple[Interval, Interval]:
        nonlocal tried
        tried += 1
        return frames(self, count)

    monkeypatch.setattr(hwparams._Possible, "frames", counted)
    limits = Limits.of(replace(WIDEST, buffer_bytes=buffer_bytes))
    whole = Interval(1, 2**32 - 1)
    for periods in (whole, fixed(1), fixed(70)):
        tried = 0
        refine(Space(ALL, EVERY, Interval(0, 255), Interval(1, longest), periods), limits)
        assert tried <= 180


class Rate(int):
    """A rate that counts how often one is looked at."""

    looks = 0

    def __lt__(self, other: int) -> bool:
        Rate.looks += 1
        return int(self) < int(other)

    def __gt__(self, other: int) -> bool:
        return not (self <= other)

    def __le__(self, other: int) -> bool:
        Rate.looks += 1
        return int(self) <= int(other)

    def __ge__(self, other: int) -> bool:
        return not (self < other)


def test_a_query_looks_at_few_of_the_rates_that_a_card_lists() -> None:
    rates = tuple(Rate(number) for number in range(1, 1000))
    limits = Limits.of(replace(WIDEST, rates=rates))
    whole = Interval(1, 2**32 - 1)
    space = refine(Space(ALL, EVERY, Interval(1, 255), whole, whole), limits)
    assert space is not None and space.rates == Interval(1, 999)
    assert 0 < Rate.looks < 999 / 2


@pytest.mark.parametrize(
    ("within", "found"),
    [
        ((8000, 48000), (8000, 48000)),
        ((8001, 47999), (16000, 44100)),
        ((16000, 16000), (16000, 16000)),
        ((16001, 44099), (1, 0)),
        ((1, 7999), (1, 0)),
        ((48001, 9**9), (1, 0)),
        ((44100, 16000), (1, 0)),
        ((0, 9**9), (8000, 48000)),
    ],
)
def test_rates_within_are_those_that_lie_there(
    within: tuple[int, int], found: tuple[int, int]
) -> None:
    listed = (8000, 16000, 44100, 48000)
    assert hwparams.rates_within(listed, Interval(*within)) == Interval(*found)


def test_a_period_is_not_shorter_than_events_may_come() -> None:
    reply = answer(from_stream_config(STREAM), STREAM, max_events_per_sec=1000)
    assert isinstance(reply, Space)
    assert reply.period_frames.min == 45  # at 44100 Hz
    fast = answer(replace(reply, rates=fixed(96000)), STREAM, max_events_per_sec=1000)
    assert isinstance(fast, Space)
    assert fast.period_frames.min == 96
    short = answer(replace(reply, period_frames=fixed(64)), STREAM, max_events_per_sec=1000)
    assert isinstance(short, Space)
    assert short.rates == Interval(44100, 48000)
    assert answer(replace(reply, period_frames=fixed(44)), STREAM, max_events_per_sec=1000) is (
        Status.EINVAL
    )
