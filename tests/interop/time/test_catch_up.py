"""A recorder loses nothing when the backend's events were late: the frames are in the buffer still.

A source that drives the graph makes up for the cycles that were due, and its clients get each one's
frames only if they are done with the one before. Counted are the quanta that a client's own record
of its cycles lacks, beside a twin (twin.py) that makes up for them all at once.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from interop.duplex import duplex
from interop.twin import Change, Twins
from xenpvaudio.measure.latency import RATE

QUANTUM_FRAMES = 256
SEC = 6.0
OUTPUT = "loopback,delay=40ms,gain=0dB,stall=50ms/1s"
AT_ONCE = Change("node/drive.c", "n->cycle.served ? xpa_graph_nsec(q) / 2", "n->cycle.served ? 0")


def lost_quanta() -> int:
    run = duplex(OUTPUT, SEC, QUANTUM_FRAMES, separate=True)
    marks = run.capture_marks  # (frame, nsec of its cycle, ...) a cycle
    settled = [mark for mark in marks if mark[1] > marks[0][1] + 1_000_000_000]
    assert len(settled) > SEC * RATE / QUANTUM_FRAMES / 2
    skipped = [
        round(((b[1] - a[1]) * RATE / 1e9 - (b[0] - a[0])) / QUANTUM_FRAMES)
        for a, b in pairwise(settled)
    ]
    return sum(quanta for quanta in skipped if quanta > 0)


def test_a_recorder_gets_what_was_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {}
    for name, changes in (("true", []), ("at once", [AT_ONCE])):
        monkeypatch.setenv("PYTHONPATH", Twins(tmp_path).make(name, *changes)["PYTHONPATH"])
        lost[name] = lost_quanta()
        monkeypatch.undo()
    print(lost)
    assert lost["at once"] > 10
    assert lost["true"] < lost["at once"] / 4
