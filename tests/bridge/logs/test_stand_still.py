"""That a program stood still is said, and nothing of one that runs."""

from __future__ import annotations

from xenpvaudio.logs.stand_still import NOTICED_SEC, StandStill


def test_only_a_tick_that_is_late_is_told_and_once() -> None:
    still = StandStill(1.0)
    assert still.ticked(1000.0) == ""
    assert still.ticked(1001.0) == ""
    assert still.ticked(1002.0 + NOTICED_SEC / 2) == ""
    assert "for 4.5 s" in still.ticked(1007.5 + NOTICED_SEC / 2)
    assert still.ticked(1008.5 + NOTICED_SEC / 2) == ""
