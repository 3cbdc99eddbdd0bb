"""Synthetic recordings and marks, whose truth is known exactly, and twins that must fail."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("numpy")
import numpy as np

from xenpvaudio.errors import ConfigError, UnavailableError
from xenpvaudio.measure import extras
from xenpvaudio.measure.aec import AecOptions, run_aec_check
from xenpvaudio.measure.correlate import DelayTrack, Floats
from xenpvaudio.measure.latency import LatencyOptions, run_latency
from xenpvaudio.measure.timing import Series, Timing, Truth, analyse
from xenpvaudio.testbed.noise_player import noise

RATE = 48000
SECONDS = 6
QUANTUM = 256
PATH_FRAMES = 1920
LEAD_FRAMES = 1024  # from a cycle to when its frames are heard
CAPTURE_FRAMES = 512  # from the microphone to the cycle that hands over
ORIGIN_NSEC = 81_000_000_000_000
SENT: Floats = np.array(noise(SECONDS * RATE, 1), dtype=np.float64)


def delayed(signal: Floats, frames: float, total: int) -> Floats:
    """`signal` from frame `frames` on, band-limited between frames."""
    size = 1 << (total + len(signal)).bit_length()
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(size) * frames)
    return np.fft.irfft(np.fft.rfft(signal, size) * turn, size)[:total]


def resampled(signal: Floats, ppm: float) -> Floats:
    """`signal` lasting longer by `ppm`; sinc interpolation. For short ones."""
    total = int(len(signal) * (1 + ppm * 1e-6))
    at = np.arange(total) / (1 + ppm * 1e-6)
    near = np.floor(at).astype(int)
    out = np.zeros(total)
    for tap in range(-24, 25):
        index = near + tap
        inside = (index >= 0) & (index < len(signal))
        window = 0.5 + 0.5 * np.cos(np.pi * np.clip((index - at) / 25, -1, 1))
        out[inside] += signal[index[inside]] * (np.sinc(at - index) * window)[inside]
    return out


# -- finding the noise


@pytest.mark.parametrize("lag", [0.0, 4321.0, 300.25, 1919.5, 77.777])
def test_a_delay_is_found_to_a_hundredth_of_a_frame(lag: float) -> None:
    received = 0.5 * delayed(SENT, lag, 2 * RATE)
    track = DelayTrack(SENT, received)
    found = [block.lag for block in track.blocks]
    assert len(found) > 80
    assert np.median(found) == pytest.approx(lag, abs=0.001)
    assert max(abs(value - lag) for value in found[2:]) < 0.01
    assert track.steps == []


def test_a_recording_that_began_later_has_a_negative_lag() -> None:
    track = DelayTrack(SENT, SENT[5000 : 5000 + RATE])
    assert {round(block.lag, 6) for block in track.blocks} == {-5000.0}


def test_a_delay_is_found_below_noise_and_among_echoes() -> None:
    chance = np.random.default_rng(3)
    room = np.zeros(4000)
    room[0] = 1.0
    echoes = np.arange(200, 4000)
    room[200:] = 0.15 * chance.standard_normal(3800) * np.exp(-echoes / 900)
    heard = np.convolve(SENT, room)[: 2 * RATE]
    heard = delayed(heard, 1200.4, 2 * RATE)
    heard += np.std(heard) * chance.standard_normal(len(heard))
    track = DelayTrack(SENT, heard)
    assert len(track.blocks) > 60
    assert np.median([block.lag for block in track.blocks]) == pytest.approx(1200.4, abs=0.1)


def test_nothing_is_found_in_other_noise() -> None:
    other = np.array(noise(RATE, 1, seed=7), dtype=np.float64)
    assert DelayTrack(SENT, other).blocks == []


def test_silence_is_not_searched() -> None:
    assert DelayTrack(SENT, np.zeros(RATE)).blocks == []


@pytest.mark.parametrize("ppm", [150.0, -500.0])
def test_drift_is_found_to_a_tenth_of_a_ppm(ppm: float) -> None:
    track = DelayTrack(SENT, resampled(SENT[: 3 * RATE], ppm))
    assert track.steps == []
    # lag over received frames, not over sent ones: equal to first order
    assert track.drift_ppm() == pytest.approx(ppm, abs=0.1 + abs(ppm) * 1e-3)


@pytest.mark.parametrize("frames", [1, -1, 7, -64, 1024, -512])
def test_skips_and_repeats_are_found_where_they_are(frames: int) -> None:
    """Positive: so many frames repeated at frame 60000; negative: skipped there."""
    at = 60000
    received = np.concatenate([SENT[:at], SENT[at - frames : 2 * RATE]])
    track = DelayTrack(SENT, received)
    assert [round(step.frames) for step in track.steps] == [frames]
    assert abs(track.steps[0].frame - at) <= max(2, frames)
    lags = track.lag_at(np.array([at - 3000.0, at + 3000.0]))
    assert lags == pytest.approx([0, frames], abs=0.02)


def test_silence_put_in_is_a_step() -> None:
    received = np.concatenate([SENT[:50000], np.zeros(480), SENT[50000 : 2 * RATE]])
    steps = DelayTrack(SENT, received).steps
    assert [round(step.frames) for step in steps] == [480]


# -- what a client was told


@dataclass
class Client:
    """A duplex client on a device whose clock is off by `ppm`; told what the device knows.

    told_ppm: the clock that it is told of; play_late, capture_late: errors of what it is told.
    """

    ppm: float = 0.0
    told_ppm: float | None = None
    play_late_frames: float = 0.0
    capture_late_frames: float = 0.0
    jitter_frames: float = 0.0
    capture_first: int = 3000  # the capture stream began so much later
    silent_sec: float = 0.0  # so much of what is captured is missing

    def analyse(self, truth: bool = True) -> tuple[Timing, Series]:
        true_npf = 1e9 / (RATE * (1 + self.ppm * 1e-6))
        told = self.ppm if self.told_ppm is None else self.told_ppm
        told_npf = 1e9 / (RATE * (1 + told * 1e-6))
        chance = np.random.default_rng(11)
        play, capture = [], []
        for cycle in range(SECONDS * RATE // QUANTUM):
            frame = cycle * QUANTUM
            start = ORIGIN_NSEC + frame * true_npf
            shake = self.jitter_frames * chance.uniform(-1, 1, 2) * true_npf
            heard = ORIGIN_NSEC + (frame + LEAD_FRAMES + self.play_late_frames) * told_npf
            play.append([frame, round(start), round(heard + shake[0])])
            taken = frame - self.capture_first
            if taken >= 0:
                at = ORIGIN_NSEC + (frame - CAPTURE_FRAMES + self.capture_late_frames) * told_npf
                capture.append([taken, round(start), round(at + shake[1])])
        # played frame n is heard at n + LEAD, captured PATH later, by what the device counts;
        # captured frame m was at the microphone at m + capture_first - CAPTURE
        lag = LEAD_FRAMES + PATH_FRAMES + CAPTURE_FRAMES - self.capture_first
        received = SENT[-lag:].copy() if lag < 0 else np.concatenate([np.zeros(lag), SENT])
        received[3 * RATE : 3 * RATE + round(self.silent_sec * RATE)] = 0
        known = Truth(PATH_FRAMES, self.ppm) if truth else None
        found = analyse(play, capture, DelayTrack(SENT, received), RATE, truth=known)
        assert found is not None
        return found


@pytest.mark.parametrize("ppm", [0.0, 100.0, -200.0])
def test_told_times_that_are_true_pass(ppm: float) -> None:
    timing, _ = Client(ppm=ppm).analyse()
    assert timing.failures == []
    assert timing.error_median_frames == pytest.approx(0, abs=0.01)
    assert timing.error_max_frames == pytest.approx(0, abs=0.02)
    assert timing.clock_error_ppm == pytest.approx(0, abs=0.01)
    whole = LEAD_FRAMES + PATH_FRAMES + CAPTURE_FRAMES
    assert timing.true_ms == pytest.approx(1000 * whole / RATE, abs=0.02)
    assert timing.reported_ms == pytest.approx(timing.true_ms, abs=0.001)
    assert timing.lock_sec is not None and timing.lock_sec < 1


@pytest.mark.parametrize("side", ["play_late_frames", "capture_late_frames"])
@pytest.mark.parametrize("wrong_ms", [5.0, -5.0])
def test_a_told_delay_that_is_wrong_by_5_ms_fails_and_is_named(side: str, wrong_ms: float) -> None:
    timing, _ = Client(**{side: wrong_ms * RATE / 1000}).analyse()
    assert timing.failures
    assert timing.lock_sec is None
    sign = 1 if side == "play_late_frames" else -1
    assert timing.error_median_frames == pytest.approx(sign * wrong_ms * RATE / 1000, abs=0.02)
    assert timing.reported_ms is not None
    assert timing.reported_ms - timing.true_ms == pytest.approx(sign * wrong_ms, abs=0.001)


def test_an_error_of_one_quantum_fails() -> None:
    assert Client(play_late_frames=QUANTUM).analyse()[0].failures


def test_a_drift_of_500_ppm_left_uncorrected_fails() -> None:
    timing, _ = Client(ppm=500.0, told_ppm=0.0).analyse()
    assert timing.clock_error_ppm == pytest.approx(-500, abs=1)
    assert any("-500" in failure for failure in timing.failures)


def test_jitter_of_three_frames_fails_by_its_percentile_alone() -> None:
    timing, _ = Client(jitter_frames=3).analyse()
    assert timing.error_median_frames == pytest.approx(0, abs=0.5)
    assert timing.error_abs_median_frames == pytest.approx(1.75, abs=0.3)  # of two uniform errors
    assert len(timing.failures) == 1 and "1 %" in timing.failures[0]
    assert Client(jitter_frames=0.5).analyse()[0].failures == []


def test_sound_that_is_missing_fails_though_the_rest_is_true() -> None:
    timing, _ = Client(silent_sec=1.0).analyse()
    assert timing.error_median_frames == pytest.approx(0, abs=0.01)
    assert timing.found_share == pytest.approx(0.75, abs=0.06)
    assert len(timing.failures) == 1 and "lost" in timing.failures[0]
    assert Client().analyse()[0].found_share > 0.99


def test_in_a_room_the_told_path_must_be_constant_and_possible() -> None:
    timing, _ = Client().analyse(truth=False)
    assert timing.failures == []
    assert timing.reported_ms is None and timing.error_median_frames is None
    assert timing.path_ms == pytest.approx(1000 * PATH_FRAMES / RATE, abs=0.001)
    assert Client(jitter_frames=5).analyse(truth=False)[0].failures
    too_late = Client(play_late_frames=PATH_FRAMES + 480).analyse(truth=False)[0]
    assert "before it was heard" in too_late.failures[0]


# -- the picture, and what it needs


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from xenpvaudio.measure.plots import plot_latency

    for number, truth in enumerate((True, False)):
        path = tmp_path / f"{number}.png"
        plot_latency(path, "title", *Client(jitter_frames=1).analyse(truth=truth))
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_missing_extra_is_one_line_that_names_it() -> None:
    extras.require("numpy")
    with pytest.raises(UnavailableError, match=r"pip install xen-pv-audio\[measure\]"):
        extras.require("no_such_module_at_all")


@pytest.mark.parametrize(
    ("name", "said"),
    [("gone/away.png", "no directory"), ("figures.jgp", "no name of a picture")],
)
def test_a_picture_that_cannot_be_is_refused_before_measuring(
    name: str, said: str, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    plot = tmp_path / name
    # no such output: an error in it would come later
    with pytest.raises(ConfigError, match=said):
        run_latency(LatencyOptions(plot=plot, simulate="nowhere"))
    with pytest.raises(ConfigError, match=said):
        run_aec_check(AecOptions(plot=plot, simulate="nowhere"))


def test_the_daemons_do_not_import_numpy() -> None:
    code = "import sys, xenpvaudio.cli, xenpvaudio.daemon, xenpvaudio.testbed.noise_player\n"
    code += "import xenpvaudio.measure.latency\n"
    code += "assert not {'numpy', 'matplotlib'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
