"""OPEN after OPEN is answered in time: soon enough for any player, too seldom to hurt."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pair import CONFIG, Pair, run
from xenpvaudio.backend.open_pace import OpenPace
from xenpvaudio.config import DomainPolicy, OutputSpec
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.codes import PcmFormat, Status
from xenpvaudio.sndif.hwparams import from_stream_config
from xenpvaudio_native.plane import Notice, NoticeKind

REFUSED = packets.OpenRequest(0, 48000, PcmFormat.S16_LE, 2, 4096, 999999, 1024)
"""Its page directory is no reference of the guest's."""

POLICY = DomainPolicy()
BURST_OPENS, INTERVAL_SEC = POLICY.max_opens_burst, 1 / POLICY.max_opens_per_sec
PATIENCE_SEC = 3.0  # of a kernel's frontend
FEW = DomainPolicy(output=OutputSpec("null"), max_opens_burst=16, max_opens_per_sec=4)
"""Fewer than by default, so that a test meets them soon."""


def test_a_guest_that_opens_without_pause_has_its_burst_and_then_one_an_interval() -> None:
    pace, now_sec, waits = OpenPace(), 50.0, []
    for _ in range(BURST_OPENS + 20):
        waits.append(pace.wait_sec(now_sec))
        now_sec += waits[-1]
    assert waits == [0.0] * BURST_OPENS + [INTERVAL_SEC] * 20


def test_a_guest_whose_streams_all_open_at_once_twice_never_waits() -> None:
    pace = OpenPace()
    assert all(pace.wait_sec(7.0) == 0 for _ in range(2 * POLICY.max_streams))


def test_streams_that_all_wait_are_answered_while_a_kernel_has_patience() -> None:
    pace = OpenPace()
    for _ in range(BURST_OPENS):
        pace.wait_sec(7.0)
    assert max(pace.wait_sec(7.0) for _ in range(POLICY.max_streams)) < PATIENCE_SEC - 0.5


def test_what_policy_says_holds_at_once_and_gives_nothing_back() -> None:
    pace = OpenPace()
    for _ in range(BURST_OPENS):
        pace.wait_sec(7.0)
    pace.limit(8, 1)
    assert pace.wait_sec(7.0) >= 1.0


def test_a_player_that_opens_no_more_often_than_that_never_waits() -> None:
    pace = OpenPace()
    assert all(pace.wait_sec(INTERVAL_SEC * number) == 0 for number in range(1000))


def test_a_pause_gives_the_burst_back() -> None:
    pace = OpenPace()
    for _ in range(BURST_OPENS):
        pace.wait_sec(0.0)
    assert pace.wait_sec(0.0) > 0
    rested_sec = (BURST_OPENS + 1) * INTERVAL_SEC
    assert [pace.wait_sec(rested_sec) for _ in range(BURST_OPENS)] == [0.0] * BURST_OPENS


def stop_clock(pair: Pair) -> None:
    """The guest's pace sees no time pass, however slow this machine is: what it has spent is not
    given back meanwhile. Waits are true."""
    pace = pair.back.streams["0/0"]._open_pace
    wait_sec, now_sec = pace.wait_sec, asyncio.get_running_loop().time()
    pace.wait_sec = lambda _now_sec, opens=1: wait_sec(now_sec, opens)  # type: ignore[method-assign]


def test_opens_in_a_row_wait_for_their_answer_and_hold_up_no_other_stream(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        loop = asyncio.get_running_loop()
        stop_clock(pair)
        for _ in range(16):
            assert (await pair.link.ask(REFUSED)).status == Status.EINVAL
        began, late = loop.time(), asyncio.ensure_future(pair.link.ask(REFUSED))
        await asyncio.sleep(0.01)
        other = pair.front.streams()[1]
        assert other.link is not None
        await other.link.ask(packets.QueryRequest(0, from_stream_config(other.config)))
        assert not late.done() or loop.time() - began > 0.125
        assert (await late).status == Status.EINVAL
        assert loop.time() - began > 0.125
        await pair.link.open(CONFIG, 512)  # late as well, and granted

    run(tmp_path, body, policy=FEW)


def test_the_streams_of_a_guest_share_its_opens(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        loop, (one, other) = asyncio.get_running_loop(), pair.front.streams()
        assert one.link is not None and other.link is not None
        stop_clock(pair)
        for _ in range(8):
            await one.link.ask(REFUSED)
            await other.link.ask(REFUSED)
        began = loop.time()
        await other.link.ask(REFUSED)
        assert loop.time() - began > 0.125

    run(tmp_path, body, policy=FEW)


def test_a_stream_that_ends_while_an_open_waits_leaves_nothing(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        stop_clock(pair)
        for _ in range(16):
            await pair.link.ask(REFUSED)
        stream = pair.back.streams["0/0"]
        stream._open_pace._due_sec += 1000
        late = asyncio.ensure_future(pair.link.ask(REFUSED))
        while stream._waiting_open is None:
            await asyncio.sleep(0.001)
        await pair.backend.stop()
        assert stream._waiting_open.cancelled()
        await asyncio.gather(late, return_exceptions=True)

    run(tmp_path, body, policy=FEW)


def test_an_open_that_comes_while_the_stream_ends_leaves_nothing(tmp_path: Path) -> None:
    """It was in the queue when the card was unplugged."""

    async def body(pair: Pair) -> None:
        await pair.link.open(CONFIG, 512)
        assert pair.link._directory is not None
        (ref, *_) = pair.link._directory.refs
        sizes = CONFIG.buffer_bytes, ref, CONFIG.period_bytes
        request = packets.OpenRequest(0, CONFIG.rate, CONFIG.format, CONFIG.channels, *sizes)
        stream = pair.back.streams["0/0"]
        detach = stream.back.detach

        def detach_and_be_asked() -> None:
            detach()
            stream._engine.hand(Notice(NoticeKind.REQUEST, stream.id, 0, request.pack()))

        stream.back.detach = detach_and_be_asked  # type: ignore[method-assign]
        await pair.backend.stop()

    run(tmp_path, body)
