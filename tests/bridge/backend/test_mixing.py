"""How often a guest's volumes reach the host, on however many streams it sets them."""

from __future__ import annotations

import asyncio
import heapq
import struct
from collections import Counter
from pathlib import Path

import pytest

from pair import CONFIG, Pair, run
from waiting import wait_for
from xenpvaudio.backend import mixing
from xenpvaudio.backend.mixing import MOST_IN_A_ROW, MOST_PER_SEC, VOLUME_SEC, VolumePace
from xenpvaudio.backend.outputs import _VirtualPort
from xenpvaudio.sndif.codes import Operation, Status

SECONDS = 60.0


def set_always(streams: int) -> Counter[int]:
    """How often each of so many streams is set, if all have something new whenever they may."""
    pace, times = VolumePace(), Counter[int]()
    due = [(0.0, stream) for stream in range(streams)]
    while due[0][0] < SECONDS:
        now_sec, stream = heapq.heappop(due)
        times[stream] += 1
        heapq.heappush(due, (now_sec + pace.rest_sec(now_sec), stream))
    return times


@pytest.mark.parametrize("streams", [4, 10, 32])
def test_all_streams_of_a_guest_share_what_a_host_can_bear(streams: int) -> None:
    times = set_always(streams)
    assert sum(times.values()) <= MOST_IN_A_ROW + MOST_PER_SEC * SECONDS + streams
    assert min(times.values()) > 0.5 * max(times.values())  # each has its share


@pytest.mark.parametrize("streams", [1, 2])
def test_a_slider_or_two_are_dragged_as_smoothly_as_ever(streams: int) -> None:
    assert min(set_always(streams).values()) >= SECONDS / VOLUME_SEC - 1


def test_ten_streams_that_open_together_are_set_at_once() -> None:
    pace = VolumePace()
    assert {pace.rest_sec(now_sec) for now_sec in (0.0, 0.5) for _ in range(20)} == {VOLUME_SEC}


def test_a_streams_volumes_are_counted_against_its_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[tuple[int, ...]] = []
    monkeypatch.setattr(_VirtualPort, "apply", lambda _, mixer: applied.append((*mixer.steps,)))
    monkeypatch.setattr(mixing, "MOST_IN_A_ROW", 1)
    monkeypatch.setattr(mixing, "MOST_PER_SEC", 2)

    async def body(pair: Pair) -> None:
        await pair.link.open(CONFIG, 512)
        loop = asyncio.get_running_loop()
        began_sec = loop.time()
        for step in range(200):
            wrote = struct.pack("=ii", -step, -step)
            assert (await pair.control(Operation.SET_VOLUME, wrote))[0] == Status.OK
        await wait_for(lambda: bool(applied) and applied[-1] == (-199, -199))
        assert len(applied) <= 3 + 2 * (loop.time() - began_sec)

    run(tmp_path, body)
