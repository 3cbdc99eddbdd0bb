"""Each attack of the table, beside an honest guest: nobody but the hostile guest notices.

A run that is wrong while an audio thread of the machine stood still says nothing, and is run again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from witness import runs_that_count

from .attacks import ROWS
from .rows import HEAD, line, measure
from .stage import Stage

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

SECONDS = 1.5
ALONE_SEC = 1.0
STALL_NSEC = 2_000_000


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        stage.start_honest()
        print(HEAD)
        yield stage


@pytest.mark.parametrize("name", ROWS)
def test_an_attack_hurts_nobody_else(stage: Stage, name: str) -> None:
    (row,) = runs_that_count(
        lambda: measure(stage, name, SECONDS, ALONE_SEC),
        lambda row: not row.faults(),
        wanted=1,
        most=3,
        stall_nsec=STALL_NSEC,
    )
    print(line(row))
    assert not row.faults()
