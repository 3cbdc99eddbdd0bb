"""Events that come late: the graph goes on on the clock's prediction, and the lead grows.

At a quantum of 64 an event that is 2 ms late is more than a cycle late. What is counted are
cycles that a client missed, beside twins (twin.py): one whose lead stays as it is, and one that
also predicts no more than half a period.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bench.meter import Player
from interop.twin import Change, Twins
from xenpvaudio.testbed import SINK, SOURCE, Testbed, card_nodes

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

RATE = 48000
QUANTUM_FRAMES = 64
SEC = 6.0
OUTPUT = f"loopback,delay=40ms,gain=-6dB,quantum={QUANTUM_FRAMES},jitter=2ms"
STAYS = Change("pw_lead.c", "if (f->guard_frames >= most)", "if (most > 0)")
SHORT_SIGHTED = Change(
    "pw_drive.c",
    "fmax(late, 0.5 * f->config.period_frames)",
    "fmin(late, 0.5 * f->config.period_frames)",
)


def missed_cycles() -> int:
    with Testbed(
        card_nodes(),
        rate=RATE,
        quantum_frames=QUANTUM_FRAMES,
        host_environ=os.environ,  # the device needs no PipeWire on the host
        backend_args=["--allow-microphone", "--output", OUTPUT],
        frontend_args=["--period-frames", str(QUANTUM_FRAMES)],
    ) as bed:
        bed.wait_for_node(SINK)
        bed.wait_for_node(SOURCE)
        player = Player(bed.guest, SINK, QUANTUM_FRAMES, RATE, source=SOURCE, sec=SEC)
        cycles, missed = player.missed_cycles()
        assert cycles > SEC * RATE / QUANTUM_FRAMES / 2
        return missed


def test_a_late_event_stops_no_cycle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twins = Twins(tmp_path)
    missed = {}
    for name, changes in (
        ("true", []),
        ("stays", [STAYS]),
        ("short", [STAYS, SHORT_SIGHTED]),
    ):
        monkeypatch.setenv("PYTHONPATH", twins.make(name, *changes)["PYTHONPATH"])
        missed[name] = missed_cycles()
        monkeypatch.undo()
    print(missed)
    assert missed["short"] > 100
    assert missed["stays"] < missed["short"] / 3
    assert missed["true"] < missed["stays"] / 3
