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


@given(st.integers(-190_000, 20_000))
def test_every_step_survives_the_way_to_an_amplitude_and_back(steps: int) -> None:
    assert to_steps(to_linear(steps)) == steps


def test_a_volume_above_20_db_is_cut_there() -> None:
    assert to_linear(2**31 - 1) == pytest.approx(10.0)


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


def test_the_mute_of_all_channels_is_the_hosts_own_and_leaves_it_the_volumes() -> None:
    mixer = Mixer(2)
    mixer.set_steps([-1000, -2000])
    mixer.set_muted([True, True], True)
    assert mixer.taken() == ([to_linear(-1000), to_linear(-2000)], True)


def test_a_guest_reads_back_exactly_what_it_wrote_unless_the_host_moved_the_slider() -> None:
    mixer = Mixer(2)
    mixer.set_steps([-12345, -1])
    volumes, mute = mixer.taken()
    assert mixer.host_changed([float(f"{value:.7g}") for value in volumes], mute) == (False, False)
    assert mixer.steps == [-12345, -1]
    assert mixer.host_changed([0.5, to_linear(-1)], False) == (True, False)
    assert mixer.steps == [to_steps(0.5), -1]


def test_what_the_host_has_taken_is_no_change_though_the_guest_has_set_something_newer() -> None:
    mixer = Mixer(1)
    mixer.set_steps([-3000])
    taken, mute = mixer.taken()
    mixer.set_steps([-9000])
    assert mixer.host_changed(taken, mute) == (False, False)
    assert mixer.steps == [-9000]


def test_a_host_that_tells_late_of_what_it_was_given_before_has_changed_nothing() -> None:
    """One that is slow, and a guest that drags a slider."""
    mixer = Mixer(1)
    given = []
    for steps in (-1000, -2000, -3000):
        mixer.set_steps([steps])
        given.append(mixer.taken()[0])
    for volumes in given:
        assert mixer.host_changed(volumes, False) == (False, False)
    assert mixer.steps == [-3000]
    assert mixer.host_changed(given[0], False) == (True, False)  # all that it was given is told of
    assert mixer.steps == [-1000]


def test_the_silence_of_a_muted_channel_is_not_taken_for_the_hosts_slider() -> None:
    mixer = Mixer(2)
    mixer.set_steps([-3000, -4000])
    mixer.set_muted([True, False], True)
    volumes, mute = mixer.taken()
    assert mixer.host_changed([0.0, volumes[1]], mute) == (False, False)
    assert mixer.steps == [-3000, -4000]
    assert mixer.host_changed([0.25, volumes[1]], mute) == (True, False)  # by hand
    assert mixer.steps == [to_steps(0.25), -4000]
    assert mixer.muted == [False, False]


def test_the_hosts_mute_is_that_of_all_channels() -> None:
    mixer = Mixer(2)
    volumes, _ = mixer.taken()
    assert mixer.host_changed(volumes, True) == (False, True)
    assert mixer.muted == [True, True]
    assert mixer.host_changed(volumes, True) == (False, False)
    assert mixer.host_changed(volumes, False) == (False, True)
    assert mixer.muted == [False, False]


def test_an_order_of_the_hosts_is_no_mute_of_the_guest() -> None:
    mixer = Mixer(2, silenced=True)
    volumes, mute = mixer.taken()
    assert mute
    assert mixer.host_changed(volumes, True) == (False, False)
    assert mixer.muted == [False, False]
