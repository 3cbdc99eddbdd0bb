"""Cancellers that are known exactly: what they leave is made, so each figure has a right value."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy")
from dataclasses import replace

import numpy as np

from xenpvaudio.measure.aec_analysis import Figures, Phases, failures, judge_run, median_figures
from xenpvaudio.measure.aec_sounds import room_response
from xenpvaudio.measure.correlate import Floats
from xenpvaudio.sound.speech import speech_bytes

RATE = 48000
PHASES = Phases(6, 9, 12)


def speech(seed: int) -> Floats:
    return np.frombuffer(speech_bytes(PHASES.end_sec, RATE, 1, seed=seed), "<i2") / 32768


FAR = speech(1)
NEAR = 0.3 * speech(5)
NEAR[: 6 * RATE] = NEAR[9 * RATE :] = 0


def echo_of(far: Floats, delay_frames: int = 2000) -> Floats:
    room = room_response(RATE, gain=0.5, delay_frames=delay_frames)
    size = 1 << (len(far) + len(room)).bit_length()
    return np.fft.irfft(np.fft.rfft(far, size) * np.fft.rfft(room, size), size)[: len(far)]


ECHO = echo_of(FAR)


def judged(out: Floats, echo: Floats = ECHO) -> Figures:
    tracks = {"echo": echo, "near": NEAR, "out": out, "far": FAR}
    found = judge_run({name: track.tolist() for name, track in tracks.items()}, RATE, PHASES)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("erle_db", [6.0, 20.0])
def test_erle_is_what_was_taken_away(erle_db: float) -> None:
    out = NEAR + ECHO * 10 ** (-erle_db / 20)
    figures = judged(out)
    assert figures.erle_db == pytest.approx(erle_db, abs=0.01)
    assert figures.erle_again_db == pytest.approx(erle_db, abs=0.01)
    assert figures.convergence_sec == 0


def test_convergence_is_when_the_echo_became_quiet() -> None:
    gain = np.where(np.arange(len(ECHO)) < 3 * RATE, 1.0, 0.1)
    figures = judged(NEAR + ECHO * gain)
    assert figures.convergence_sec == pytest.approx(2.95, abs=0.2)


def test_a_clean_near_end_is_cleaner_than_one_with_echo_or_holes() -> None:
    clean = judged(NEAR + 0.01 * ECHO).near_db
    echoing = judged(NEAR + 0.3 * ECHO).near_db
    holes = np.where(np.arange(len(NEAR)) // 4800 % 2 == 0, 1.0, 0.1)
    assert clean > echoing + 5
    assert clean > judged(NEAR * holes + 0.01 * ECHO).near_db + 2


def test_the_echo_paths_delay_is_found_in_speech() -> None:
    figures = judged(0.1 * ECHO, echo_of(FAR, 3210))
    assert figures.delay_frames == pytest.approx(3210, abs=0.5)
    assert figures.delay_drift_ppm == pytest.approx(0, abs=1)
    assert figures.delay_steps == 0


def test_a_drift_of_500_ppm_is_found_and_fails() -> None:
    late = np.interp(np.arange(len(ECHO)) * (1 - 500e-6), np.arange(len(ECHO)), ECHO)
    drifting = judged(0.1 * ECHO, late)
    assert drifting.delay_drift_ppm == pytest.approx(500, abs=25)
    assert any("drifts" in reason for reason in failures(drifting, judged(0.1 * ECHO)))


def test_a_jump_of_5_ms_is_found() -> None:
    jumped = np.concatenate([ECHO[: 5 * RATE], np.zeros(240), ECHO[5 * RATE : -240]])
    figures = judged(0.1 * ECHO, jumped)
    assert figures.delay_steps == 1


def test_silence_is_no_echo() -> None:
    silence = [0.0] * RATE
    tracks = {name: silence for name in ("echo", "near", "out", "far")}
    assert judge_run(tracks, RATE, PHASES) is None


GOOD = Figures(
    erle_db=12,
    erle_again_db=12,
    convergence_sec=1.0,
    near_db=4,
    delay_frames=2000,
    delay_drift_ppm=0.1,
    delay_steps=0,
)


@pytest.mark.parametrize(
    "change",
    [
        {"erle_db": 10.9},
        {"erle_again_db": 9.9},
        {"delay_steps": 2},
        {"convergence_sec": 1.2},
        {"convergence_sec": None},
        {"near_db": 2.9},
        {"delay_drift_ppm": -500.0},
    ],
)
def test_each_figure_alone_can_fail(change: dict[str, float | None]) -> None:
    assert failures(GOOD, GOOD) == []
    assert len(failures(replace(GOOD, **change), GOOD)) == 1


def test_small_losses_pass() -> None:
    near = replace(GOOD, erle_db=11.1, erle_again_db=11.1, convergence_sec=1.1, near_db=3.1)
    assert failures(near, GOOD) == []


def test_medians_count_a_run_that_never_converged_as_the_slowest() -> None:
    never = replace(GOOD, convergence_sec=None, erle_db=1)
    assert median_figures([GOOD, GOOD, never]) == GOOD
    assert median_figures([GOOD, never, never]).convergence_sec is None
