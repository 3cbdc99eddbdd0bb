"""The rows can fail: without what bounds it, each of these attacks is seen to hurt."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from interop.twin import Change, Twins

from .rows import line, measure
from .stage import Stage

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

SECONDS = 2.5
NO_BUDGET = Change(
    "base/budget.c",
    "enum { SHARE = 8, BURST_NSEC = 2000000 };",
    "enum { SHARE = 1, BURST_NSEC = 2000000000 };",
)


def is_felt(stage: Stage, name: str, *words: str) -> bool:
    """Whether, in one of three runs, a fault has one of these words."""
    stage.start_honest()
    for _ in range(3):
        row = measure(stage, name, SECONDS, 1.0)
        print(line(row), row.faults())
        if any(word in fault for fault in row.faults() for word in words):
            return True
    return False


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_without_a_budget_the_data_loop_is_the_guests(tmp_path: Path) -> None:
    with Stage(env=Twins(tmp_path).make("free", NO_BUDGET)) as stage:
        assert is_felt(stage, "events without requests", "of a processor")


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("state 4 in a row, 976 nodes", "max-xenstore-burst = 10000000"),
        ("OPEN/CLOSE, 10 streams, two shapes", "max-opens-burst = 100000"),
        ("most channels at 768 kHz", "max-samples-per-sec = 49152000"),
    ],
)
def test_without_a_ceiling_the_guest_is_felt(name: str, policy: str) -> None:
    with Stage(f"[default]\n{policy}\n") as stage:
        assert is_felt(stage, name, "of a processor", "silent frames")


def test_a_rate_and_channels_that_overflow_the_converter_end_nobody() -> None:
    """64 buffers of 32 channels of float64 at 768 kHz are 4 GiB, which it counts in 32 bits."""
    with Stage(f"[default]\nmax-samples-per-sec = {32 * 768000}\n") as stage:
        assert stage.attack("most channels at 768 kHz", 1.0) > 0
        assert "768000 Hz 32 channels" in stage.log.read_text()
        stage.process()  # it is there
