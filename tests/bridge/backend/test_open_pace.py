"""OPEN after OPEN is answered in time: soon enough for any player, too seldom to hurt."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pair import CONFIG, Pair, run
from xenpvaudio.backend.open_pace import BURST_OPENS, INTERVAL_SEC, OpenPace
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.codes import PcmFormat, Status
from xenpvaudio.sndif.hwparams import from_stream_config

REFUSED = packets.OpenRequest(0, 48000, PcmFormat.S16_LE, 2, 4096, 999999, 1024)
"""Its page directory is no reference of the guest's."""


def test_a_guest_that_opens_without_pause_has_its_burst_and_then_one_an_interval() -> None:
    pace, now_sec, waits = OpenPace(), 50.0, []
    for _ in range(BURST_OPENS + 20):
        waits.append(pace.wait_sec(now_sec))
        now_sec += waits[-1]
    assert waits == [0.0] * BURST_OPENS + [INTERVAL_SEC] * 20


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


def test_opens_in_a_row_wait_for_their_answer_and_hold_up_no_other_stream(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(BURST_OPENS):
            assert (await pair.link.ask(REFUSED)).status == Status.EINVAL
        began, late = loop.time(), asyncio.ensure_future(pair.link.ask(REFUSED))
        await asyncio.sleep(0.01)
        other = pair.front.streams()[1]
        assert other.link is not None
        await other.link.ask(packets.QueryRequest(0, from_stream_config(other.config)))
        assert not late.done() or loop.time() - began > INTERVAL_SEC / 2
        assert (await late).status == Status.EINVAL
        assert loop.time() - began > INTERVAL_SEC / 2
        await pair.link.open(CONFIG, 512)  # late as well, and granted

    run(tmp_path, body)


def test_a_stream_that_ends_while_an_open_waits_leaves_nothing(tmp_path: Path) -> None:
    async def body(pair: Pair) -> None:
        for _ in range(BURST_OPENS):
            await pair.link.ask(REFUSED)
        stream = pair.back.streams["0/0"]
        stream._open_pace._due_sec += 1000
        late = asyncio.ensure_future(pair.link.ask(REFUSED))
        while stream._waiting_open is None:
            await asyncio.sleep(0.001)
        await pair.backend.stop()
        assert stream._waiting_open.cancelled()
        await asyncio.gather(late, return_exceptions=True)

    run(tmp_path, body)
