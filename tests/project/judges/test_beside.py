"""What `make bench-beside` makes of the figures that it has measured and counted."""

from __future__ import annotations

from bench.beside import rows
from bench.counted import cycles_and_instructions

CALLGRIND = """events: Ir
fn=(1) main
cfn=(2) on_process
calls=3 10
5 700
fn=(2)
4 100
cfn=(3) xpa_node_process
calls=3 20
6 500
fn=(4) other
cfn=(2)
calls=2 10
7 90
cfn=(5) on_process'2
calls=1 10
8 9
summary: 1200
"""


def test_cycles_are_the_calls_of_on_process_whoever_makes_them() -> None:
    assert cycles_and_instructions(CALLGRIND) == (6, 1200)


def test_the_change_is_the_median_of_each_runs_own_ratio() -> None:
    """The machine became twice as slow in the second run, and the third has a wild figure."""
    key = (256, "our frontend process")
    runs = [
        ({key: 100.0}, {key: 110.0}),
        ({key: 200.0}, {key: 220.0}),
        ({key: 100.0}, {key: 300.0}),
    ]
    assert rows(runs) == [["256", key[1], "100", "220", "+10.0%", "+10% to +200%"]]
