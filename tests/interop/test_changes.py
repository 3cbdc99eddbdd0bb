"""Whatever changes in a guest's graph costs our devices no more sound than PipeWire's own device.

All changes are made once in a session of tests, many in one recording, and each test looks at one
of them. What was not like it should be, or fell into a stall of the machine, is made again a few
times; what counts then is the sum of all, so that a loss now and then stays a loss.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("numpy")

from interop.changes.all import CHANGES
from interop.changes.change import ALLOWED_FRAMES, Change
from interop.changes.place import Place
from interop.changes.recording import Seen, record
from interop.changes.table import STALL_NSEC, excess, markdown

TOGETHER = 17
MORE_RUNS = 2
# What was lost once may be anybody's.
LEAST_RUNS = 2

Results = dict[str, list[Seen]]


def add(results: Results, folder: Path, changes: list[Change]) -> None:
    for first in range(0, len(changes), TOGETHER):
        for seen in record(folder / str(first), changes[first : first + TOGETHER]):
            results[seen.name].append(seen)


def calm(seen: list[Seen]) -> list[Seen]:
    return [one for one in seen if one.stall_nsec < STALL_NSEC]


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("changes")
    found: Results = {name: [] for name in CHANGES}
    add(found, folder / "0", list(CHANGES.values()))
    for number in range(MORE_RUNS):
        doubtful = [
            change
            for name, change in CHANGES.items()
            if not calm(found[name]) or excess(calm(found[name]), change)
        ]
        if doubtful:
            add(found, folder / str(1 + number), doubtful)
    print(markdown(list(CHANGES), [one for seen in found.values() for one in seen]))
    return found


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_costs_no_more_sound_than_on_pipewires_own_device(
    name: str, results: Results
) -> None:
    seen = results[name]
    assert not any(one.failure for one in seen), [one.failure for one in seen]
    if not calm(seen):
        pytest.skip(f"the machine stalled in each of {len(seen)} runs")
    too_much = excess(calm(seen), CHANGES[name])
    if too_much and len(calm(seen)) < LEAST_RUNS:
        pytest.skip(f"the machine stalled in all but one of {len(seen)} runs")
    assert not too_much, seen


@contextmanager
def _planted(place: Place) -> Iterator[None]:
    """The guest's frontend stands still for longer than it has written ahead."""
    assert place.bed.frontend is not None
    os.kill(place.bed.frontend.pid, signal.SIGSTOP)
    time.sleep(0.4)
    os.kill(place.bed.frontend.pid, signal.SIGCONT)
    yield


def test_a_loss_that_is_planted_is_seen_at_both_ends_and_not_at_the_other_device(
    tmp_path: Path,
) -> None:
    change = Change("planted", _planted)
    (seen,) = record(tmp_path, [change])
    assert seen.played.silent > 9600, seen
    assert seen.captured.lost + seen.captured.silent > 2 * ALLOWED_FRAMES, seen
    assert seen.own.lost + seen.own.silent <= 2 * ALLOWED_FRAMES, seen
    assert excess([seen], change)
