"""sndif's volume steps and mutes against linear amplitudes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenpvaudio.sndif.volume import SILENT_STEPS, Mixer, to_linear, to_steps


def test_zero_db_is_full_amplitude_and_6_db_is_about_half() -> None:
    assert to_linear(0) == 1.0
    assert to_linear(-6021) == pytest.approx(0.5, rel=1e-4)
    assert to_linear(SILENT_STEPS) == 0.0
    assert to_steps(0.0) == SILENT_STEPS


@given(st.integers(-190_000, 40_000))
def test_every_step_survives_the_way_to_an_amplitude_and_back(steps: int) -> None:
    assert to_steps(to_linear(steps)) == steps


def test_a_volume_above_40_db_is_cut_there() -> None:
    assert to_linear(2**31 - 1) == pytest.approx(100.0)


def test_a_muted_channel_is_silent_and_keeps_its_volume() -> None:
    mixer = Mixer(2)
    mixer.set_steps([-1000, -2000])
    mixer.set_muted([False, True], True)
    assert mixer.amplitudes() == [to_linear(-1000), 0.0]
    assert not mixer.all_muted
    mixer.set_muted([True, False], True)
    assert mixer.all_muted
    mixer.set_muted([True, True], False)
    assert mixer.amplitudes() == [to_linear(-1000), to_linear(-2000)]


def test_a_guest_reads_back_exactly_what_it_wrote_unless_the_host_moved_the_slider() -> None:
    mixer = Mixer(2)
    mixer.set_steps([-12345, -1])
    mixer.host_changed([float(f"{value:.7g}") for value in mixer.amplitudes()])
    assert mixer.steps == [-12345, -1]
    mixer.host_changed([0.5, to_linear(-1)])
    assert mixer.steps == [to_steps(0.5), -1]


def test_the_silence_of_a_mute_is_not_taken_for_the_hosts_slider() -> None:
    mixer = Mixer(1)
    mixer.set_steps([-3000])
    mixer.set_muted([True], True)
    mixer.host_changed([0.0])
    assert mixer.steps == [-3000]
