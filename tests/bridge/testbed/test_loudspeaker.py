"""When a frame was played, by when chunks arrived: late ones, and a sink that paused."""

from __future__ import annotations

import pytest

from xenpvaudio.testbed.loudspeaker import Arrival, played_nsec

RATE = 48000
CHUNK_FRAMES = 512
START_NSEC = 7_000_000_000
PROMPT_NSEC = 50_000


def nsec_of(frames: int) -> int:
    return round(frames * 1e9 / RATE)


def arrivals(count: int, late_nsec: dict[int, int], pauses: dict[int, int]) -> list[Arrival]:
    """late_nsec: by chunk; pauses: nsec before that chunk."""
    found, paused = [], 0
    for chunk in range(count):
        paused += pauses.get(chunk, 0)
        first = chunk * CHUNK_FRAMES
        late = PROMPT_NSEC if chunk % 3 else late_nsec.get(chunk, 5_000_000)
        found.append((first, START_NSEC + nsec_of(first) + paused + late_nsec.get(chunk, late)))
    return found


@pytest.mark.parametrize("frame", [0, 1000, 51199])
def test_late_arrivals_date_no_frame(frame: int) -> None:
    found = played_nsec(arrivals(100, dict.fromkeys(range(40, 60), 9_000_000), {}), frame, RATE)
    assert found == pytest.approx(START_NSEC + nsec_of(frame) + PROMPT_NSEC, abs=1)


@pytest.mark.parametrize("pause_nsec", [500_000, 2_600_000, 5_000_000_000])
def test_a_frame_after_a_pause_is_not_dated_by_what_came_before(pause_nsec: int) -> None:
    """2.6 ms: as a loaded machine showed it, 125 frames that were taken for a wrong delay."""
    came = arrivals(100, {}, {50: pause_nsec})
    for frame, paused in ((49 * CHUNK_FRAMES, 0), (51 * CHUNK_FRAMES, pause_nsec)):
        right = START_NSEC + nsec_of(frame) + PROMPT_NSEC + paused
        assert played_nsec(came, frame, RATE) == pytest.approx(right, abs=1)


def test_each_of_many_pauses_counts() -> None:
    came = arrivals(100, {}, {20: 1_000_000, 50: 3_000_000, 80: 2_000_000})
    for chunk, paused in ((10, 0), (30, 1_000_000), (60, 4_000_000), (95, 6_000_000)):
        right = START_NSEC + nsec_of(chunk * CHUNK_FRAMES) + PROMPT_NSEC + paused
        assert played_nsec(came, chunk * CHUNK_FRAMES, RATE) == pytest.approx(right, abs=1)


def test_the_last_arrivals_are_late_and_no_pause() -> None:
    came = arrivals(100, dict.fromkeys(range(94, 100), 4_000_000), {})
    right = START_NSEC + nsec_of(99 * CHUNK_FRAMES) + PROMPT_NSEC
    assert played_nsec(came, 99 * CHUNK_FRAMES, RATE) == pytest.approx(right, abs=1)


def test_without_arrivals_nothing_is_known() -> None:
    assert played_nsec([], 5, RATE) is None
