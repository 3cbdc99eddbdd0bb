"""Events that come late: the graph goes on on the clock's prediction, and the lead grows.

Playback: at a quantum of 64 an event that is 2 ms late is more than a cycle late. What is counted
are cycles that a client missed, beside twins (twin.py): one whose lead stays as it is, and one that
also predicts no more than half a period.

Capture: a period's frames are there when its event was, and how late that may be grows, too. What
is counted are the frontend's own xruns: cycles whose frames were not there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.meter import Player
from interop.twin import Change, Twins
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

RATE = 48000
QUANTUM_FRAMES = 64
SEC = 12.0
OUTPUT = f"loopback,delay=40ms,gain=-6dB,quantum={QUANTUM_FRAMES},jitter=2ms"
STAYS = Change("time/margin.c", "if (g->frames < most)", "if (g->frames > most)")
SHORT_SIGHTED = Change(
    "node/drive.c",
    "fmax(late, 0.5 * f->stream.config.period_frames)",
    "fmin(late, 0.5 * f->stream.config.period_frames)",
)


def missed_cycles(quantum: int, period: int) -> tuple[int, int]:
    """(by a client, by the source)"""
    with Testbed(
        card_nodes(),
        rate=RATE,
        quantum_frames=quantum,
        host_environ=os.environ,  # the device needs no PipeWire on the host
        backend_args=["--allow-microphone", "--output", OUTPUT],
        frontend_args=["--period-frames", str(period)],
    ) as bed:
        bed.wait_for_node(SINK)
        bed.wait_for_node(SOURCE)
        player = Player(bed.guest, SINK, quantum, RATE, source=SOURCE, sec=SEC)
        cycles, missed = player.missed_cycles()
        assert cycles > SEC * RATE / quantum / 2
        return missed, int((bed.node(SOURCE) or {})["xenpv.xruns"])


def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, changes: list[Change], *sizes: int
) -> tuple[int, int]:
    monkeypatch.setenv("PYTHONPATH", Twins(tmp_path).make(name, *changes)["PYTHONPATH"])
    try:
        return missed_cycles(*sizes)
    finally:
        monkeypatch.undo()


def test_a_late_event_stops_no_cycle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missed = {}
    for name, changes in (
        ("true", []),
        ("stays", [STAYS]),
        ("short", [STAYS, SHORT_SIGHTED]),
    ):
        sizes = (QUANTUM_FRAMES, QUANTUM_FRAMES)
        missed[name] = run(tmp_path, monkeypatch, name, changes, *sizes)[0]
    print(missed)
    assert missed["short"] > 100
    # Between the two twins lies no fixed ratio: how late a slow machine is decides there.
    assert missed["true"] < missed["stays"] / 3
    assert missed["true"] < missed["short"] / 3


def test_a_late_event_costs_no_captured_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed = {}
    for name, changes in (("true", []), ("stays", [STAYS])):
        missed[name] = run(tmp_path, monkeypatch, name, changes, 256, 512)[1]
    print(missed)
    assert missed["stays"] > 20
    assert missed["true"] < missed["stays"] / 3
