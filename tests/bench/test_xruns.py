"""Small quanta beside PipeWire's null sink in the same session and the same time."""

from __future__ import annotations

import os

import pytest

from bench.meter import Player, machine_ticks, steal_fraction, table
from xenpvaudio.testbed import SINK, Testbed, card_nodes

RATE = 48000


@pytest.mark.parametrize("quantum", [256, 128, 64])
def test_cycles_missed_beside_the_null_sink(quantum: int) -> None:
    os.environ.setdefault("XPA_BENCH_SEC", "60")
    ticks = machine_ticks()
    with Testbed(
        card_nodes(capture=False), rate=RATE, quantum_frames=quantum, guest_null_sink=True
    ) as bed:
        bed.wait_for_node()
        ours, null = (Player(bed.guest, sink, quantum, RATE) for sink in (SINK, "null-loudspeaker"))
        cycles, missed = ours.missed_cycles()
        null_cycles, null_missed = null.missed_cycles()
        node = bed.node() or {}
    steal = steal_fraction(ticks, machine_ticks())
    rows = [
        ["ours", str(cycles), str(missed), str(node.get("xenpv.xruns", "?"))],
        ["null sink", str(null_cycles), str(null_missed), "-"],
    ]
    head = ["", "cycles", "missed by the client", "silence inserted"]
    print(table(f"Quantum {quantum}, {steal:.1%} of the machine stolen", head, rows))
    assert cycles > 0
