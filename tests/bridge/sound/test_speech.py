"""The generated sound: a good measuring signal first, and something like speech too."""

from __future__ import annotations

import math
import sys
from array import array
from itertools import pairwise

import pytest

from xenpvaudio.sound.compare import compare
from xenpvaudio.sound.speech import PEAK, speech_bytes

RATE = 16000


def samples(data: bytes) -> array[int]:
    values = array("h", data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def energy(track: array[int], hz: float, rate: int) -> float:
    """Of one frequency, by Goertzel's algorithm, over windows of 20 ms."""
    size = rate // 50
    turn = 2 * math.cos(2 * math.pi * hz / rate)
    total = 0.0
    for start in range(0, len(track) - size, size):
        s1 = s2 = 0.0
        for value in track[start : start + size]:
            s1, s2 = value + turn * s1 - s2, s1
        total += s1 * s1 + s2 * s2 - turn * s1 * s2
    return total


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (48000, 6), (192000, 8)])
def test_any_rate_and_channels_give_the_frames_asked_for(rate: int, channels: int) -> None:
    data = speech_bytes(0.3, rate, channels)
    assert len(data) == round(0.3 * rate) * channels * 2
    peaks = [max(map(abs, samples(data)[channel::channels])) for channel in range(channels)]
    assert peaks[0] == pytest.approx(PEAK, rel=0.01)
    assert all(0.9 * a < b < a for a, b in pairwise(peaks))


def test_no_time_gives_no_frames() -> None:
    assert speech_bytes(0) == b""


def test_same_seed_gives_the_same_sound_and_another_one_another() -> None:
    assert speech_bytes(0.5, RATE) == speech_bytes(0.5, RATE)
    assert speech_bytes(0.5, RATE, seed=2) != speech_bytes(0.5, RATE)


def test_the_peak_is_six_decibels_below_full_scale() -> None:
    peak = max(map(abs, samples(speech_bytes(5, RATE, 1))))
    assert 20 * math.log10(peak / 32768) == pytest.approx(-6, abs=0.1)


@pytest.mark.parametrize("channels", [1, 2])
def test_each_frame_can_be_told_from_its_neighbours(channels: int) -> None:
    width = 2 * channels
    data = speech_bytes(5, 48000, channels)
    frames = [data[at : at + width] for at in range(0, len(data), width)]
    assert bytes(width) not in frames
    assert all(a != b for a, b in pairwise(frames))
    # The comparison resynchronizes by windows of as many frames: none comes twice.
    windows = {data[at : at + 16 * width] for at in range(0, len(data) - 15 * width, width)}
    assert len(windows) == len(frames) - 15


def test_a_fault_is_seen_even_in_a_pause() -> None:
    data = speech_bytes(1, 48000, 2)
    # The first 50 ms are a pause.
    assert max(map(abs, samples(data[: 2400 * 4]))) <= 6
    for frame in range(0, 2000, 97):
        at = 4 * frame
        lost = compare(data, data[:at] + data[at + 4 :], 4, b"\0")
        repeated = compare(data, data[: at + 4] + data[at:], 4, b"\0")
        assert (lost.lost, lost.duplicated, lost.corrupted) == (1, 0, 0)
        assert (repeated.lost, repeated.duplicated, repeated.corrupted) == (0, 1, 0)


def test_swapped_channels_are_seen() -> None:
    values = samples(speech_bytes(1, RATE, 2))
    swapped = array("h", bytes(2 * len(values)))
    swapped[0::2], swapped[1::2] = values[1::2], values[0::2]
    result = compare(values.tobytes(), swapped.tobytes(), 4, b"\0")
    assert result.corrupted + result.lost > 0.5 * RATE


def test_it_sounds_like_speech() -> None:
    track = samples(speech_bytes(8, RATE, 1))
    # Syllables and pauses: both loud and quiet stretches of 20 ms.
    size = RATE // 50
    peaks = [max(map(abs, track[at : at + size])) for at in range(0, len(track) - size, size)]
    assert 0.05 < sum(peak < 50 for peak in peaks) / len(peaks) < 0.5
    assert sum(peak > PEAK / 8 for peak in peaks) / len(peaks) > 0.3
    # The weight is where the first two formants are, little of it high up, none at zero.
    low = sum(energy(track, hz, RATE) for hz in range(200, 1200, 100))
    middle = sum(energy(track, hz, RATE) for hz in range(1200, 3000, 180))
    high = sum(energy(track, hz, RATE) for hz in range(5500, 7500, 200))
    assert low > middle > 10 * high
    assert abs(sum(track)) / len(track) < 0.01 * PEAK


def test_two_voices_of_different_pitch_speak() -> None:
    track = samples(speech_bytes(8, 8000, 1))
    size = 400
    pitches = []
    for at in range(0, len(track) - 2 * size, size):
        part = track[at : at + 2 * size]
        if max(map(abs, part)) > PEAK / 4:
            # Periods of 80 to 300 Hz; where the signal is most like itself.
            likeness = [
                (sum(a * b for a, b in zip(part[:size], part[lag:], strict=False)), lag)
                for lag in range(8000 // 300, 8000 // 80)
            ]
            pitches.append(8000 / max(likeness)[1])
    assert sum(90 < pitch < 150 for pitch in pitches) > len(pitches) / 5
    assert sum(160 < pitch < 270 for pitch in pitches) > len(pitches) / 5
