"""A delay that flaps, as a backend likes, is told to the graph's clients now and then, and in the
end the newest."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

from pair import Pair, run
from waiting import wait_for
from xenpvaudio.frontend import paced
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio_native.pipewire import PwEvent, PwEventKind
from xenpvaudio_native.plane import Notice, NoticeKind


def test_a_delay_that_flaps_is_told_20_times_a_second_and_ends_at_the_newest(
    tmp_path: Path,
) -> None:
    told: list[int] = []

    async def body(pair: Pair) -> None:
        stream = pair.front.streams()[0]
        args = (PcmFormat.S16_LE, 48000, 2)
        stream._event(PwEvent(PwEventKind.FORMAT, stream.id, args, ""))
        await wait_for(lambda: stream.opened is not None)
        link = pair.link
        node = SimpleNamespace(set_latency=lambda frames, _rate: told.append(frames))
        stream.node = node  # type: ignore[assignment]
        loop = asyncio.get_running_loop()
        began_sec = loop.time()
        for _ in range(300):
            link._notice(Notice(NoticeKind.LATENCY, link.id, 0, b""))
            await asyncio.sleep(0.001)
        for _ in range(2):  # the first may be told at once
            link._notice(Notice(NoticeKind.LATENCY, link.id, 0, b""))
        first = len(told)
        assert 2 <= first <= 2 + (loop.time() - began_sec) / paced.TURN_SEC
        await wait_for(lambda: len(told) == first + 1)  # the last of them
        await asyncio.sleep(3 * paced.TURN_SEC)
        assert len(told) == first + 1
        assert told[-1] == link.front.stats.published_frames
        link._notice(Notice(NoticeKind.LATENCY, link.id, 0, b""))
        assert len(told) == first + 2  # at once
        stream.node = None

    run(tmp_path, body)
