"""The faults of every day: the node and the applications live, sound comes back, nothing clicks,
the delay that is told is the true one, and the log says in words what happened.

Times are printed, never judged. A run that is wrong while the machine stood still says nothing, and
is made again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest

from witness import runs_that_count

from .breaking import plugged, unplugged
from .matrix import DAILY, FAULTS
from .place import Place, eventually
from .recovery import HEAD, line, measure
from .rounds import KIB_A_ROUND, POLICY, grown, leaks

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

STALL_NSEC = 2_000_000
ROUNDS = 50
IDLE_SEC = 5
"""Until WirePlumber suspends a node (suspend-node.lua)."""


class Places:
    """One place for all faults, and another one after a failure."""

    def __init__(self) -> None:
        self._place: Place | None = None

    def take(self) -> Place:
        if self._place is None:
            self._place = Place()
            self._place.__enter__()
        else:
            self._place.renew()
        return self._place

    def drop(self) -> None:
        if self._place is not None:
            place, self._place = self._place, None
            place.__exit__(None, None, None)


@pytest.fixture(scope="module")
def places() -> Iterator[Places]:
    places = Places()
    print(HEAD)
    yield places
    places.drop()


@pytest.mark.parametrize("name", DAILY)
def test_a_fault_is_survived(places: Places, name: str) -> None:
    def run() -> list[str]:
        try:
            row = measure(places.take(), name)
        except BaseException:
            places.drop()
            raise
        print(line(row))
        if row.faults():
            places.drop()
        return row.faults()

    (found,) = runs_that_count(run, lambda found: not found, 1, 3, STALL_NSEC)
    assert not found


def test_each_fault_is_told_or_it_is_said_why_nobody_can() -> None:
    for name, fault in FAULTS.items():
        told, untold = bool(fault.log and fault.words), bool(fault.unsaid)
        assert told != untold, name


def test_the_guest_s_wireplumber_outlives_a_card_that_goes() -> None:
    """0.4 suspends what has been idle for 5 s, and crashed if that had gone a certain way."""
    with Place(POLICY) as place:
        for playing in (False, True):
            place.start_applications()
            if not playing:
                place.stop_applications()
            unplugged(place)
            eventually(lambda: place.bed.node() is None, place.state)
            place.stop_applications()
            plugged(place)
            eventually(place.bed.node, place.state)
        time.sleep(IDLE_SEC + 1)
        place.session("guest").check()
        place.start_applications()


def test_rounds_of_connecting_leave_nothing() -> None:
    with Place(POLICY) as place:
        assert leaks(place, ROUNDS) == []


def test_memory_that_grows_with_the_rounds_is_told() -> None:
    """And what a heap takes once, or ever less of, is not."""
    looked = [{"backend": kib} for kib in (20_000, 24_000, 26_000)]
    assert grown(looked, 1000) == []
    looked[2]["backend"] = 24_000 + 1000 * KIB_A_ROUND
    assert grown(looked, 1000) == ["backend: 4000 KiB more after the second half of the rounds"]
