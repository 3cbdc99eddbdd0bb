"""hwparams.py: narrowing is checked against trying every combination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xenpvaudio.errors import ConfigError, PeerProtocolError
from xenpvaudio.sndif.card import StreamConfig
from xenpvaudio.sndif.codes import Direction, PcmFormat, Status, formats_in, formats_mask
from xenpvaudio.sndif.hwparams import (
    Config,
    Interval,
    Limits,
    Preferences,
    Space,
    answer,
    choose,
    from_stream_config,
    rates_within,
    refine,
)

S8, S16, S24 = PcmFormat.S8, PcmFormat.S16_LE, PcmFormat.S24_LE
S32, F32, F64 = PcmFormat.S32_LE, PcmFormat.F32_LE, PcmFormat.F64_LE
EVERY = Interval(0, 2**32 - 1)
ALL = 2**64 - 1

STREAM = StreamConfig(
    0, 0, Direction.PLAYBACK, "", (S16, S32, F32), (44100, 48000, 96000), Interval(1, 8), 65536
)


def fixed(number: int) -> Interval:
    return Interval(number, number)


# --- refine ---------------------------------------------------------------------------------------


def width(fmt: PcmFormat) -> int:
    assert fmt.sample_bytes is not None
    return fmt.sample_bytes


def possible(space: Space, limits: Limits) -> list[tuple[int, int, int, int, int]]:
    """Every allowed combination, found by trying each."""
    rates = [rate for rate in range(10) if rate in space.rates and rate in limits.rates]
    return [
        (fmt, rate, channels, buffer, period)
        for fmt, rate, channels, buffer, period in product(
            formats_in(space.formats & limits.formats),
            rates,
            range(space.channels.min, space.channels.max + 1),
            range(space.buffer_frames.min, space.buffer_frames.max + 1),
            range(space.period_frames.min, space.period_frames.max + 1),
        )
        if channels in limits.channels
        and buffer >= limits.min_buffer_frames
        and buffer * channels * width(fmt) <= limits.buffer_bytes
        and period >= 1
        and buffer >= 2 * period
        and period * channels * width(fmt) >= limits.min_period_bytes
        and period >= limits.min_period_frames
        and rate <= period * limits.max_events_per_sec
    ]


def box(combinations: list[tuple[int, int, int, int, int]]) -> Space | None:
    if not combinations:
        return None
    formats, *columns = zip(*combinations, strict=True)
    intervals = [Interval(min(column), max(column)) for column in columns]
    return Space(formats_mask(map(PcmFormat, formats)), *intervals)


def small(low: int, high: int) -> st.SearchStrategy[Interval]:
    return st.builds(Interval, st.integers(low, high), st.integers(low, high))


small_spaces = st.builds(
    Space,
    st.sets(st.sampled_from([S8, S16, S24, F64, PcmFormat.GSM])).map(formats_mask),
    small(0, 9),
    small(0, 5),
    small(0, 14),
    small(0, 8),
)
small_limits = st.builds(
    Limits,
    st.sets(st.sampled_from([S8, S16, S24, F64])).map(formats_mask),
    st.sets(st.integers(1, 9)).map(sorted).map(tuple) | small(1, 9),
    small(1, 5),
    st.integers(1, 120),
    st.integers(1, 6),
    st.integers(1, 30),
    st.integers(1, 4),
    st.integers(1, 12),
)


@settings(max_examples=300)
@given(small_spaces, small_limits)
def test_refine_is_the_smallest_box_around_all_that_is_possible(
    space: Space, limits: Limits
) -> None:
    assert refine(space, limits) == box(possible(space, limits))


big = st.builds(Interval, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
big_spaces = st.builds(Space, st.integers(0, ALL), big, big, big, big)


@given(big_spaces | small_spaces)
def test_refine_is_a_subset_and_asking_again_changes_nothing(space: Space) -> None:
    limits = Limits.of(STREAM)
    narrowed = refine(space, limits)
    if narrowed is not None:
        assert narrowed
        assert space.covers(narrowed)
        assert refine(narrowed, limits) == narrowed


@given(big_spaces)
def test_backend_answers_any_query_with_a_part_of_it_or_einval(query: Space) -> None:
    reply = answer(query, STREAM, 256)
    assert reply == Status.EINVAL or (isinstance(reply, Space) and reply and query.covers(reply))


def test_the_buffer_limit_takes_the_narrowest_frame_still_possible() -> None:
    """An answer never excludes what is possible: 1 channel of 16 bits has 32768 frames."""
    space = from_stream_config(STREAM)
    assert space.buffer_frames.max == 65536 // 2
    stereo = answer(replace(space, channels=fixed(2)), STREAM)
    assert isinstance(stereo, Space)
    assert stereo.buffer_frames.max == 65536 // 4
    wide = answer(replace(space, channels=fixed(8), formats=F32.mask), STREAM)
    assert isinstance(wide, Space)
    assert wide.buffer_frames.max == 65536 // 32


def test_a_long_buffer_drops_the_formats_and_channels_that_do_not_fit() -> None:
    space = from_stream_config(STREAM)
    reply = answer(replace(space, buffer_frames=Interval(9000, 9000)), STREAM)
    assert isinstance(reply, Space)
    assert reply.channels == Interval(1, 3)
    assert reply.formats == formats_mask([S16, S32, F32])
    reply = answer(replace(space, buffer_frames=Interval(20000, 20000)), STREAM)
    assert isinstance(reply, Space)
    assert (reply.channels, reply.formats) == (Interval(1, 1), S16.mask)


def test_at_least_two_periods_a_buffer() -> None:
    space = from_stream_config(STREAM)
    reply = answer(replace(space, buffer_frames=Interval(1, 1001)), STREAM)
    assert isinstance(reply, Space)
    assert reply.period_frames.max == 500
    reply = answer(replace(space, period_frames=Interval(700, 800)), STREAM)
    assert isinstance(reply, Space)
    assert reply.buffer_frames.min == 1400


def test_period_is_at_least_64_bytes() -> None:
    space = from_stream_config(STREAM)
    assert space.period_frames.min == 2  # 8 channels of 32 bits
    reply = answer(replace(space, channels=fixed(1), formats=S16.mask), STREAM)
    assert isinstance(reply, Space)
    assert reply.period_frames.min == 32


def test_rates_shrink_to_the_hull_of_the_listed_ones() -> None:
    assert rates_within((44100, 48000, 96000), Interval(0, 50000)) == Interval(44100, 48000)
    assert rates_within((44100, 48000), Interval(45000, 47000)) == Interval(1, 0)
    assert rates_within(Interval(5512, 48000), Interval(22000, 22000)) == fixed(22000)
    query = replace(from_stream_config(STREAM), rates=Interval(45000, 47000))
    assert answer(query, STREAM) is Status.EINVAL


def test_host_buffer_floor_raises_the_shortest_buffer() -> None:
    assert from_stream_config(STREAM, host_min_buffer_frames=2048).buffer_frames.min == 2048
    query = replace(from_stream_config(STREAM), buffer_frames=Interval(1, 2047))
    assert answer(query, STREAM, 2048) is Status.EINVAL


def test_formats_without_frames_are_never_offered() -> None:
    config = replace(STREAM, formats=(S16, PcmFormat.MPEG, PcmFormat.GSM, PcmFormat.IMA_ADPCM))
    assert from_stream_config(config).formats == S16.mask


@pytest.mark.parametrize(
    "config",
    [replace(STREAM, formats=(PcmFormat.MPEG,)), replace(STREAM, buffer_bytes=100)],
)
def test_a_stream_on_which_nothing_is_possible_is_a_config_error(config: StreamConfig) -> None:
    with pytest.raises(ConfigError, match="stream 0/0: no configuration is possible"):
        from_stream_config(config)


def test_query_and_answer_count_buffer_and_period_in_frames() -> None:
    """sndif counts bytes in OPEN, frames in HW_PARAM_QUERY."""
    config = replace(STREAM, formats=(F32,), channels=fixed(8), buffer_bytes=64 * 1024)
    assert from_stream_config(config).buffer_frames.max == 64 * 1024 // (4 * 8)


def test_linux_frontends_wide_open_query_is_narrowed_to_the_configuration() -> None:
    """Its first query allows anything that ALSA can say, zeros included."""
    reply = answer(Space(ALL, EVERY, EVERY, EVERY, EVERY), STREAM)
    assert reply == from_stream_config(STREAM)


def test_empty_or_inverted_query_is_refused() -> None:
    space = from_stream_config(STREAM)
    for query in (
        replace(space, formats=0),
        replace(space, formats=PcmFormat.GSM.mask),
        replace(space, rates=Interval(48000, 44100)),
        replace(space, channels=Interval(2, 1)),
        replace(space, buffer_frames=Interval(10, 9)),
        replace(space, period_frames=Interval(0, 0)),
    ):
        assert answer(query, STREAM) is Status.EINVAL


# --- choose ---------------------------------------------------------------------------------------

Backend = Callable[[Space], Space | None]


def drive(
    backend: Backend, preferences: Preferences, config: StreamConfig = STREAM
) -> tuple[Config, list[Space], Space]:
    """Runs choose() against `backend`: the result, the queries, the last answer."""
    plan = choose(Limits.of(config), preferences)
    queries = [next(plan)]
    while True:
        reply = backend(queries[-1])
        try:
            queries.append(plan.send(reply))
        except StopIteration as end:
            assert reply is not None
            result: Config = end.value
            return result, queries, reply


def our_backend(config: StreamConfig, floor: int = 1) -> Backend:
    def reply(query: Space) -> Space | None:
        found = answer(query, config, floor)
        return found if isinstance(found, Space) else None

    return reply


def echo(query: Space) -> Space:
    return query


def is_in(config: Config, space: Space) -> bool:
    return (
        bool(config.format.mask & space.formats)
        and config.rate in space.rates
        and config.channels in space.channels
        and config.period_frames in space.period_frames
        and config.buffer_frames in space.buffer_frames
    )


def test_preferences_within_reach_are_met() -> None:
    wanted = Preferences((F32,), 48000, 2, 256, 2048)
    config, queries, _ = drive(our_backend(STREAM), wanted)
    assert config == Config(F32, 48000, 2, 256, 2048)
    assert len(queries) == 6  # everything, then one parameter a query


def test_echoing_backend_will_do() -> None:
    """snd_be with PulseAudio answers each query with itself."""
    config, _, last = drive(echo, Preferences((F64, F32), 50000, 9, 1, 10**6))
    assert config == Config(F32, 48000, 8, 2, 65536 // 32)
    assert is_in(config, last)


def test_the_backends_own_narrowing_is_followed() -> None:
    host = replace(STREAM, formats=(S16,), rates=(44100,), channels=Interval(1, 2))
    config, _, _ = drive(our_backend(host, 1000), Preferences((F32,), 48000, 6, 64, 128))
    assert config == Config(S16, 44100, 2, 64, 1000)


def test_refused_values_are_followed_by_the_next_best() -> None:
    def picky(query: Space) -> Space | None:
        """Has no 48 kHz, which the hull of its rates cannot say, and no stereo."""
        if query.rates == fixed(48000) or query.channels == fixed(2):
            return None
        return query

    config, queries, _ = drive(picky, Preferences((S16,), 48000, 2, 256, 2048))
    assert (config.rate, config.channels) == (44100, 3)
    assert len(queries) == 8


def test_backend_that_refuses_everything_is_named_in_one_line() -> None:
    with pytest.raises(ConfigError, match="accepts no configuration that this stream"):
        drive(lambda query: None, Preferences())
    with pytest.raises(ConfigError, match="accepts no rate"):
        drive(lambda query: None if query.rates.min == query.rates.max else query, Preferences())


def test_answer_outside_of_the_query_is_a_protocol_error() -> None:
    def widens(query: Space) -> Space:
        return replace(query, channels=Interval(query.channels.min, query.channels.max + 1))

    with pytest.raises(PeerProtocolError, match="no part of the query"):
        drive(widens, Preferences())


def test_empty_answer_is_a_protocol_error() -> None:
    with pytest.raises(PeerProtocolError, match="no part of the query"):
        drive(lambda query: replace(query, formats=0), Preferences())
    with pytest.raises(PeerProtocolError, match="no part of the query"):
        drive(lambda query: replace(query, rates=Interval(2, 1)), Preferences())


def test_unlisted_rates_allow_the_preferred_one() -> None:
    config, _, _ = drive(echo, Preferences(rate=22000), StreamConfig(0, 0, Direction.CAPTURE))
    assert (config.rate, config.format) == (22000, S16)


def test_choose_may_start_from_a_narrower_space() -> None:
    start = replace(from_stream_config(STREAM), rates=fixed(96000))
    plan = choose(Limits.of(STREAM), Preferences(), start)
    query = next(plan)
    assert query.rates == fixed(96000)
    try:
        while True:
            query = plan.send(query)
    except StopIteration as end:
        assert end.value.rate == 96000


def test_bytes_of_a_config_are_frames_times_channels_times_width() -> None:
    config = Config(S24, 48000, 6, 256, 1024)
    assert (config.frame_bytes, config.period_bytes, config.buffer_bytes) == (24, 6144, 24576)


configs = st.builds(
    StreamConfig,
    st.just(0),
    st.just(0),
    st.just(Direction.PLAYBACK),
    st.just(""),
    st.sets(st.sampled_from([S8, S16, S24, S32, F32, F64]), min_size=1).map(sorted).map(tuple),
    st.sets(st.sampled_from([8000, 44100, 48000, 96000]), min_size=1).map(sorted).map(tuple),
    st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda two: Interval(min(two), max(two))),
    st.integers(1, 200_000),
)
preferences = st.builds(
    Preferences,
    st.permutations([S16, S24, F32, F64]),
    st.integers(0, 10**6),
    st.integers(0, 300),
    st.integers(0, 10**5),
    st.integers(0, 10**6),
)


@given(configs, configs, preferences, st.integers(1, 3000))
def test_the_choice_lies_in_the_last_answer_and_can_be_opened(
    guest: StreamConfig, host: StreamConfig, wanted: Preferences, floor: int
) -> None:
    try:
        config, queries, last = drive(our_backend(host, floor), wanted, guest)
    except ConfigError:
        return
    assert is_in(config, last)
    assert config.format in guest.formats
    assert config.format in host.formats
    assert config.rate in guest.rates
    assert config.rate in host.rates
    assert config.buffer_bytes <= min(guest.buffer_bytes, host.buffer_bytes)
    assert config.buffer_frames >= max(floor, 2 * config.period_frames)
    assert all(queries)


@given(configs, preferences)
def test_a_backend_with_the_same_configuration_always_grants_something(
    both: StreamConfig, wanted: Preferences
) -> None:
    try:
        from_stream_config(both)
    except ConfigError:
        return
    config, queries, _ = drive(our_backend(both), wanted, both)
    assert config.channels in both.channels
    assert len(queries) == 6
