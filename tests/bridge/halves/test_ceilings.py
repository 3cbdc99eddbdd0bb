"""A guest that asks for too much: what the backend answers and says."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pair import CONFIG, Pair, run
from waiting import wait_for
from xenpvaudio.backend.outputs import VirtualOutput
from xenpvaudio.config import DomainPolicy, FrontendSettings, OutputSpec
from xenpvaudio.errors import ConfigError
from xenpvaudio.frontend.offer import make_offer
from xenpvaudio.logs.limiter import BURST_LINES, REFILL_LINES_PER_SEC
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.codes import PcmFormat, Status
from xenpvaudio.sndif.config_space import Interval
from xenpvaudio.sndif.hwparams import Config, from_stream_config
from xenpvaudio.testbed.testbed import card_nodes

NULL = OutputSpec("null")


def asked(period_bytes: int, buffer_bytes: int = 4096, rate: int = 48000) -> packets.OpenRequest:
    """Refused before any page is looked at."""
    return packets.OpenRequest(0, rate, PcmFormat.S16_LE, 2, buffer_bytes, 999999, period_bytes)


def test_open_with_a_period_of_64_bytes_is_refused_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pair: Pair) -> None:
        assert (await pair.link.ask(asked(64))).status == Status.EINVAL
        assert (
            "position events a second: 3000 is more than the policy allows, 1000"
            in (caplog.messages[-1])
        )
        assert "raise max-events-per-sec" in caplog.messages[-1]
        assert pair.back._usage.memory_bytes == {}
        await pair.link.open(CONFIG, 512)

    run(tmp_path, body)


def test_open_of_a_buffer_past_policy_names_the_limit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pair: Pair) -> None:
        assert (await pair.link.ask(asked(1024, 1 << 17))).status == Status.EINVAL
        assert "131072 is more than the policy allows, 65536" in caplog.messages[-1]
        response = await pair.link.ask(
            packets.QueryRequest(0, from_stream_config(pair.front.streams()[0].config))
        )
        assert response.space is not None and response.space.buffer_frames.max == 65536 // 2

    run(tmp_path, body, policy=DomainPolicy(output=NULL, max_buffer_bytes=65536))


def test_memory_of_all_streams_is_held_to_policy_and_given_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pair: Pair) -> None:
        one, other = (stream.link for stream in pair.front.streams())
        assert one is not None and other is not None
        await one.open(CONFIG, 512)
        (held,) = pair.back._usage.memory_bytes.values()
        assert held > CONFIG.buffer_bytes + 256 * 256
        assert (await other.ask(asked(1024, CONFIG.buffer_bytes))).status == Status.ENOMEM
        assert "raise max-memory-bytes" in caplog.messages[-1]
        await one.close()
        assert pair.back._usage.memory_bytes == {}
        await other.open(CONFIG, 512)

    run(tmp_path, body, policy=DomainPolicy(output=NULL, max_memory_bytes=200_000))


def test_queries_offer_no_period_that_open_refuses(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        response = await pair.link.ask(
            packets.QueryRequest(0, from_stream_config(pair.front.streams()[0].config))
        )
        assert response.space is not None
        assert response.space.period_frames.min == 48
        await pair.link.open(Config(PcmFormat.S16_LE, 48000, 2, 48, 4096), 512)

    run(tmp_path, body)


def test_virtual_devices_end_with_their_last_stream(tmp_path: Path) -> None:
    """A guest may open at any number of rates: each made a device with a timer that stayed."""

    async def body(pair: Pair) -> None:
        (output,) = pair.back._outputs.values()
        assert isinstance(output, VirtualOutput)
        for rate in range(8000, 8020):
            await pair.link.open(Config(PcmFormat.S16_LE, rate, 2, 256, 4096), 512)
            assert len(output._devices) <= 1
            await pair.link.close()
            for _ in range(500):
                if not output._devices:
                    break
                await asyncio.sleep(0.01)
            assert output._devices == {}

    run(tmp_path, body, card_nodes(rates=range(8000, 8020)))


def most_told(began_sec: float) -> float:
    """As many lines as one peer may cause from then until now, and one whose time is come."""
    return BURST_LINES + REFILL_LINES_PER_SEC * (time.monotonic() - began_sec) + 1


def test_refused_opens_do_not_flood_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked_for = 300

    async def body(pair: Pair) -> None:
        def lines(words: str) -> list[str]:
            told = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
            return [line for line in told if words in line]

        def left_out() -> int:
            return sum(int(line.split()[2]) for line in lines("more lines were left out"))

        caplog.clear()
        began_sec = time.monotonic()
        for _ in range(asked_for):
            assert (await pair.link.ask(asked(64))).status == Status.EINVAL
        most_lines = most_told(began_sec)
        await wait_for(lambda: len(lines("OPEN refused")) + left_out() == asked_for)
        assert len(lines("OPEN refused")) <= most_lines
        assert all(line.startswith("domain 1: ") for line in lines("more lines were left out"))
        assert len(lines("")) == len(lines("OPEN refused")) + len(lines("left out"))

    # else so many take a quarter of a minute
    run(tmp_path, body, policy=DomainPolicy(output=NULL, max_opens_burst=1000))


@pytest.mark.parametrize("side", ["guest", "backend"])
def test_a_state_that_is_none_does_not_flood_the_other_ends_log(
    side: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pair: Pair) -> None:
        end, other = (pair.front, pair.back) if side == "guest" else (pair.back, pair.front)
        caplog.clear()
        began_sec = time.monotonic()
        for number in range(400):
            end.store.write(f"{end.directory}/state", f"{number}\x1b[31m\u202e")
            await asyncio.sleep(0)
        await asyncio.sleep(0.5)
        told = [r for r in caplog.records if r.levelno >= logging.WARNING]
        blaming = [r.getMessage() for r in told if "no xenbus state" in r.getMessage()]
        assert 0 < len(blaming) <= most_told(began_sec)
        assert all(line.startswith(other.where) and line.isprintable() for line in blaming)

    run(tmp_path, body)


def test_a_card_with_more_channels_than_pipewire_has_is_an_error_of_the_card(
    tmp_path: Path,
) -> None:
    async def body(pair: Pair) -> None:
        stream = pair.front.streams()[0]
        assert stream.space is not None
        with pytest.raises(ConfigError, match="65 channels at least, PipeWire has 64"):
            make_offer(
                stream.config,
                replace(stream.space, channels=Interval(65, 255)),
                FrontendSettings(),
                stream.where,
            )

    run(tmp_path, body)
