"""A guest that opens and closes as fast as it may leaves no descriptor behind in the backend."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from interop.twin import Change, Twins
from xenpvaudio_native.pipewire import library_version

from .rows import FEW_DESCRIPTORS
from .stage import Stage

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

NAME = "OPEN/CLOSE, 10 streams, two shapes"
SECONDS = 3.0
NO_LEAK_SINCE = (0, 3, 72)
DESTROYS = Change("pipewire/leaving.c", "xpa_pw_version() < NO_LEAK_SINCE", "false")


def kept(stage: Stage) -> int:
    """Descriptors more than before the guest came, once it has gone."""
    before = stage.process().descriptors
    done = stage.attack(NAME, SECONDS)
    assert done >= 64, "the guest has opened too little to tell"
    end = time.monotonic() + 5
    while (more := stage.process().descriptors - before) > 0 and time.monotonic() < end:
        time.sleep(0.05)
    return more


def test_opens_and_closes_keep_no_descriptor() -> None:
    with Stage() as stage:
        stage.attack(NAME, 0.5)  # what PipeWire keeps once, for all
        assert kept(stage) <= FEW_DESCRIPTORS


@pytest.mark.skipif(library_version() >= NO_LEAK_SINCE, reason="this PipeWire closes them itself")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_streams_that_are_simply_destroyed_keep_descriptors(tmp_path: Path) -> None:
    """How many at a time is a matter of when the daemon's messages come."""
    total = 0
    with Stage(env=Twins(tmp_path).make("destroys", DESTROYS)) as stage:
        stage.attack(NAME, 0.5)
        for _ in range(5):
            total += kept(stage)
            if total > 2 * FEW_DESCRIPTORS:
                return
    pytest.fail(f"only {total} descriptors are kept")
