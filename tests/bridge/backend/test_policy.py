"""The ceilings: what meets them is one line that says which, and no honest guest meets them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from xenpvaudio.backend.outputs import VirtualOutput, _PipewirePort
from xenpvaudio.backend.policy import (
    Usage,
    check_card,
    check_open,
    check_resampler,
    least_period_frames,
    quantum_frames,
    store_bytes,
)
from xenpvaudio.backend.port import Identity
from xenpvaudio.config import DomainPolicy, OutputSpec
from xenpvaudio.engine.engine import Engine
from xenpvaudio.errors import ConfigError
from xenpvaudio.sndif.card import Card, PcmDevice, StreamConfig
from xenpvaudio.sndif.codes import Direction, PcmFormat
from xenpvaudio.sndif.config_space import Interval
from xenpvaudio.sndif.hwparams import Config

POLICY = DomainPolicy()
OPEN = Config(PcmFormat.S16_LE, 48000, 2, 64, 4096)


def card(**changes: object) -> Card:
    stream = StreamConfig(0, 0, Direction.PLAYBACK)
    return Card("", "", (PcmDevice(0, "", (replace(stream, **changes),)),))  # type: ignore[arg-type]


CARDS = [
    (card(rates=(48000, 100_000_000)), ["sample rate 100000000", "768000", "raise max-rate"]),
    (card(rates=Interval(1, 2**32 - 1)), ["sample rate 4294967295", "768000", "raise max-rate"]),
    (card(channels=Interval(1, 65)), ["channels-max 65", "64", "raise max-channels"]),
    (card(channels=Interval(255, 255)), ["channels-max 255", "64", "raise max-channels"]),
]


@pytest.mark.parametrize(("hostile", "words"), CARDS)
def test_a_card_past_a_ceiling_is_refused_in_one_line(hostile: Card, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_card(hostile, POLICY, "device/vsnd/0")
    assert all(word in str(caught.value) for word in ["device/vsnd/0/0/0", *words])
    assert "\n" not in str(caught.value)


OPENS = [
    (replace(OPEN, rate=800_000), ["sample rate 800000", "768000", "raise max-rate"]),
    (replace(OPEN, channels=65), ["channels 65", "64", "raise max-channels"]),
    (replace(OPEN, buffer_frames=1 << 19), ["2097152", "1048576", "raise max-buffer-bytes"]),
    (
        replace(OPEN, format=PcmFormat.S32_LE, channels=8, period_frames=2),  # 64 bytes
        ["frames of the period: 2", "16", "lower min-period-frames"],
    ),
    (
        replace(OPEN, period_frames=16),  # 64 bytes
        ["position events a second: 3000", "1000", "raise max-events-per-sec"],
    ),
]


@pytest.mark.parametrize(("hostile", "words"), OPENS)
def test_an_open_past_a_ceiling_is_refused_in_one_line(hostile: Config, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_open(hostile, POLICY)
    assert all(word in str(caught.value) for word in words), str(caught.value)


# Linux's frontend within what the card allows; ours, down to periods of 64 frames.
HONEST = [
    *(
        Config(PcmFormat.S16_LE, rate, channels, max(64, rate // 1000), 16384)
        for rate in (5512, 8000, 11025, 22050, 44100, 48000, 96000, 192000)
        for channels in (1, 2)
    ),
    Config(PcmFormat.S32_LE, 192000, 8, 256, 16384),
    Config(PcmFormat.F32_LE, 48000, 2, 64, 16384),
    Config(PcmFormat.F32_LE, 44100, 2, 64, 4096),
    Config(PcmFormat.S16_LE, 48000, 2, 0, 16384),  # no position events
]


def test_no_honest_open_meets_a_ceiling() -> None:
    for config in HONEST:
        check_open(config, POLICY)
        check_resampler(config.rate, POLICY)
        for capture in (False, True):
            Usage().add_memory("stream", config, 0, POLICY, capture)


def test_a_guest_with_ten_streams_of_the_largest_buffers_is_served() -> None:
    """As Android has: eight to play, two to capture."""
    usage = Usage()
    usage.check_card("0", 10, POLICY, "device/vsnd/0")
    for number in range(10):
        config = Config(PcmFormat.S32_LE, 48000, 4, 1024, 65536)
        assert config.buffer_bytes == POLICY.max_buffer_bytes
        usage.add_memory(number, config, 0, POLICY, capture=number >= 8)


def test_streams_and_cards_count_over_the_whole_guest() -> None:
    usage = Usage({"0": 20})
    usage.check_card("0", 32, POLICY, "device/vsnd/0")  # in its own place
    with pytest.raises(ConfigError) as caught:
        usage.check_card("1", 13, POLICY, "device/vsnd/1")
    assert "13 streams (33 with its other cards), policy allows 32" in str(caught.value)
    assert "max-streams" in str(caught.value)
    crowd = Usage({str(number): 1 for number in range(8)})
    with pytest.raises(ConfigError, match=r"cards 9 is more than the policy allows, 8.*max-cards"):
        crowd.check_card("8", 1, POLICY, "device/vsnd/8")


def test_memory_is_a_sum_over_all_streams_of_the_guest_and_comes_back() -> None:
    usage = Usage()
    config = Config(PcmFormat.S32_LE, 48000, 4, 65536, 65536)
    each = config.buffer_bytes + store_bytes(config, capture=False)
    fit = POLICY.max_memory_bytes // each
    for number in range(fit):
        usage.add_memory(number, config, 0, POLICY, capture=False)
    usage.add_memory(0, config, 0, POLICY, capture=False)  # opened anew: not counted twice
    with pytest.raises(ConfigError, match=f"{POLICY.max_memory_bytes}; raise max-memory-bytes"):
        usage.add_memory(fit, config, 0, POLICY, capture=False)
    assert fit not in usage.memory_bytes
    usage.drop(0)
    usage.add_memory(fit, config, 0, POLICY, capture=False)
    assert sum(usage.memory_bytes.values()) <= POLICY.max_memory_bytes


def test_events_are_a_sum_over_all_streams_of_the_guest_and_come_back() -> None:
    usage = Usage()
    quick = Config(PcmFormat.S16_LE, 48000, 2, 48, 480)  # 1000 a second
    for number in range(10):
        usage.add_load(number, quick, POLICY)
    usage.add_load(0, quick, POLICY)  # opened anew: not counted twice
    usage.add_load("without", Config(PcmFormat.S16_LE, 48000, 2, 0, 480), POLICY)
    with pytest.raises(ConfigError, match=r"streams: 11000 .*raise max-all-events-per-sec"):
        usage.add_load(10, quick, POLICY)
    usage.drop(3)
    usage.add_load(10, quick, POLICY)
    android = Usage()
    for number in range(10):
        android.add_load(number, Config(PcmFormat.S16_LE, 48000, 2, 64, 640), POLICY)


def test_samples_are_a_sum_over_all_streams_of_the_guest_and_come_back() -> None:
    usage = Usage()
    wide = Config(PcmFormat.S16_LE, 96000, 32, 1024, 4096)
    usage.add_load(0, wide, POLICY)
    usage.add_load(0, wide, POLICY)  # opened anew: not counted twice
    usage.add_load(1, wide, POLICY)
    slow = Config(PcmFormat.S16_LE, 8000, 1, 64, 640)
    with pytest.raises(ConfigError, match=r"streams: 6192000 .*raise max-samples-per-sec"):
        usage.add_load(2, slow, POLICY)  # the host makes 48000 of them
    assert 2 not in usage.events_per_sec
    usage.drop(0)
    usage.add_load(2, slow, POLICY)
    for config in HONEST:
        Usage().add_load("stream", config, POLICY)
    android = Usage()
    for number in range(10):
        android.add_load(number, Config(PcmFormat.S16_LE, 48000, 8, 1024, 4096), POLICY)


def test_the_store_behind_a_stream_is_bounded() -> None:
    config = Config(PcmFormat.F64_LE, 768000, 64, 2048, 2048)  # a quarter second is 98 MB
    assert config.buffer_bytes == POLICY.max_buffer_bytes
    with pytest.raises(ConfigError, match="raise max-store-bytes"):
        Usage().add_memory("stream", config, 0, POLICY, capture=True)
    with pytest.raises(ConfigError, match="raise max-memory-bytes"):
        Usage().add_memory("stream", OPEN, 1 << 27, POLICY, capture=True)


@pytest.mark.parametrize("rate", [8000, 48000, 96000, 192000, 768000])
def test_a_shortest_period_is_just_not_too_many_events(rate: int) -> None:
    least = least_period_frames(rate, POLICY)
    check_open(replace(OPEN, rate=rate, period_frames=least), POLICY)
    with pytest.raises(ConfigError):
        check_open(replace(OPEN, rate=rate, period_frames=least - 1), POLICY)


@pytest.mark.parametrize(
    ("wish", "rate", "asked"),
    [(2, 48000, 64), (64, 48000, 64), (1024, 48000, 1024), (64, 96000, 128), (1, 8000, 11)],
)
def test_a_guests_period_does_not_ask_the_host_for_a_quantum_below_policy(
    wish: int, rate: int, asked: int
) -> None:
    assert quantum_frames(wish, rate, POLICY) == asked


@pytest.mark.parametrize("rate", [48000, 192000, 768000])
def test_a_virtual_device_ticks_no_faster_than_policy_allows(rate: int) -> None:
    for spec in (OutputSpec("null"), OutputSpec("null", quantum_frames=16)):
        output = VirtualOutput(None, spec, POLICY)  # type: ignore[arg-type]
        assert rate / output.quantum_frames(rate) <= POLICY.max_events_per_sec
        assert output.quantum_frames(rate) >= spec.quantum_frames
        assert rate / output.quantum_frames(rate) <= 48000 / spec.quantum_frames
    assert VirtualOutput(None, OutputSpec("null"), POLICY).quantum_frames(48000) == 256  # type: ignore[arg-type]
    long = VirtualOutput(None, OutputSpec("loopback", delay_sec=10), POLICY)  # type: ignore[arg-type]
    assert long.memory_bytes(768000) > POLICY.max_memory_bytes


def test_a_virtual_device_is_made_with_that_quantum() -> None:
    async def body() -> None:
        engine = Engine(None)
        output = VirtualOutput(engine, OutputSpec("null"), POLICY)
        assert output.device(48000).quantum_frames == 256
        assert output.device(768000).quantum_frames == 4096
        output.close()
        engine.close()

    asyncio.run(body())


def test_properties_of_a_host_stream_are_within_policy_and_printable() -> None:
    """What a PipeWire of the host is told of a guest."""
    port = object.__new__(_PipewirePort)
    port._policy = POLICY
    port._config = replace(OPEN, period_frames=2)
    port._identity = Identity("a\x1b[2J\u202eb", "vsnd/0 0/0", False, "sink\nx", "")
    properties = port._properties()
    assert properties["node.latency"] == "64/48000"
    assert all(value.isprintable() for value in properties.values())
    assert properties["application.name"] == r"a\x1b[2J\u202eb"
