"""Which runs of a measurement count: no skip hides a run that was wrong on a calm machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from witness import Lateness, Witness, runs_that_count

CALM, STALLED, LIMIT = 100_000, 9_000_000, 2_000_000


class Beside:
    """A witness that saw this."""

    def __init__(self, worst_nsec: int) -> None:
        self.saw = Lateness(0, 0, worst_nsec)

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *error: object) -> None: ...


def count(runs: list[tuple[bool, int]], wanted: int = 2) -> list[bool]:
    """Runs as (right, what the witness saw)."""
    results: Iterator[bool] = iter(right for right, _ in runs)
    seen = iter(worst for _, worst in runs)
    return runs_that_count(
        lambda: next(results),
        lambda right: right,
        wanted,
        len(runs),
        LIMIT,
        lambda: cast(Witness, Beside(next(seen))),
    )


def test_a_wrong_run_on_a_calm_machine_counts() -> None:
    assert count([(False, CALM), (False, CALM), (True, CALM)]) == [False, False]


def test_a_right_run_counts_though_the_machine_stalled() -> None:
    assert count([(True, STALLED), (True, STALLED)]) == [True, True]


def test_a_wrong_run_beside_a_stall_is_made_again() -> None:
    assert count([(False, STALLED), (True, CALM), (False, CALM)]) == [True, False]


def test_only_stalls_beside_wrong_runs_skip() -> None:
    with pytest.raises(pytest.skip.Exception, match="in 2 of 3 runs"):
        count([(False, STALLED), (True, CALM), (False, STALLED)])


def test_the_real_witness_is_there_while_it_is_measured() -> None:
    assert runs_that_count(lambda: 7, lambda found: found == 7, 1, 1, LIMIT) == [7]
