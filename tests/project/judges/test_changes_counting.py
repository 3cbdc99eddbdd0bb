"""Losses planted into a noise are counted at their places, whatever became of the samples."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy")

import numpy as np

from interop.changes.counting import Event, Track, stood_still
from interop.changes.player import noise
from xenpvaudio.measure.correlate import Floats

SENT = noise(8.0, 1)
LATE = 777


def shifted(samples: Floats, frames: float) -> Floats:
    """As a resampler leaves them: nothing is equal bit by bit any more."""
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(len(samples)) * frames)
    return np.rint(np.fft.irfft(np.fft.rfft(samples) * turn, len(samples)) * 32768) / 32768


def track(*pieces: Floats) -> Track:
    return Track(SENT, np.concatenate((np.zeros(LATE), *pieces)))


def test_sound_that_arrived_whole_has_no_event_and_a_lag() -> None:
    found = track(SENT)
    assert found.events == []
    assert found.lag_at(np.array([LATE + 5.0])) == pytest.approx(LATE)


def test_frames_that_were_skipped_are_lost() -> None:
    assert track(SENT[:9000], SENT[9256:]).events == [Event(LATE + 9000, 256, 0, 0)]


def test_silence_put_in_is_silent_and_nothing_is_lost() -> None:
    found = track(SENT[:9000], np.zeros(512), SENT[9000:])
    assert found.events == [Event(LATE + 9000, 0, 0, 512)]


def test_sound_overwritten_by_silence_is_lost_and_silent() -> None:
    found = track(SENT[:9000], np.zeros(512), SENT[9512:])
    assert found.events == [Event(LATE + 9000, 512, 0, 512)]


def test_frames_that_came_twice_are_repeated() -> None:
    assert track(SENT[:9000], SENT[8744:]).events == [Event(LATE + 9000, 0, 256, 0)]


def test_a_recording_that_falls_silent_is_silent_to_its_end() -> None:
    assert track(SENT[:9000], np.zeros(5000)).events == [Event(LATE + 9000, 5000, 0, 5000)]


def test_silence_that_was_sent_on_is_no_fault_of_the_second_way() -> None:
    heard = np.concatenate((SENT[:9000], np.zeros(512), SENT[9000:]))
    received = np.concatenate((np.zeros(LATE), heard[:20000], heard[20100:]))
    assert Track(heard, received).events == [Event(LATE + 20000, 100, 0, 0)]


def test_losses_of_resampled_sound_are_found_to_a_few_frames() -> None:
    middle = shifted(SENT[60000:260000], 0.4)
    found = track(SENT[:60000], middle[:100000], middle[100500:], SENT[260000:])
    lost = [(event.frame, event.lost) for event in found.events if event.lost > 8]
    assert len(lost) == 1, found.events
    assert lost[0][0] == pytest.approx(LATE + 160000, abs=64)
    assert lost[0][1] == pytest.approx(500, abs=2)
    lags = found.lag_at(np.array([LATE + 50000.0, LATE + 120000.0]))
    assert lags == pytest.approx([LATE, LATE + 0.4], abs=0.05)


def test_a_device_that_stood_still_lost_nothing_and_is_seen_by_the_times_of_its_cycles() -> None:
    frames = np.arange(0.0, 20480.0, 1024.0)
    nsec = frames / 48000 * 1e9
    nsec[5:] += 0.25e9
    nsec[9:] += 768 / 48000 * 1e9
    nsec[12:] += 2 / 48000 * 1e9
    assert stood_still(frames, nsec, 48000) == [(5120, 12000), (9216, 768)]
