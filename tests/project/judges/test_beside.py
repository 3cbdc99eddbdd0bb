"""What `make bench-beside` reads from the table that the benchmark of CPU a cycle prints."""

from __future__ import annotations

from bench.beside import figures, rows
from bench.counted import cycles_and_instructions
from bench.meter import table

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
HEAD = ["", "us a cycle", "stolen"]
ROWS = [["our frontend process", "117", "0.1%"], ["null sink (in its daemon)", "77", ""]]


def test_each_process_of_each_quantum_is_found() -> None:
    tables = [table(f"CPU a cycle at quantum {quantum}", HEAD, ROWS) for quantum in (256, 1024)]
    found = figures(".".join(tables) + "\n2 passed in 100 s\n")
    processes = {"our frontend process": 117.0, "null sink (in its daemon)": 77.0}
    assert found == {(q, name): usec for q in (256, 1024) for name, usec in processes.items()}


def test_cycles_are_the_calls_of_on_process_whoever_makes_them() -> None:
    assert cycles_and_instructions(CALLGRIND) == (6, 1200)


def test_other_lines_are_no_figures() -> None:
    assert figures("  our frontend process  117  \nCPU a cycle at quantum\n") == {}


def test_the_change_is_the_median_of_each_runs_own_ratio() -> None:
    """The machine became twice as slow in the second run, and the third has a wild figure."""
    key = (256, "our frontend process")
    runs = [
        ({key: 100.0}, {key: 110.0}),
        ({key: 200.0}, {key: 220.0}),
        ({key: 100.0}, {key: 300.0}),
    ]
    assert rows(runs) == [["256", key[1], "100", "220", "+10.0%", "+10% to +200%"]]
