"""What it costs to play: how often the processors are woken for it.

One stream at any quantum: the host's cycle wakes the backend, the guest's the frontend twice (to
start it, and when it is done), and nothing else does. A sink and a source in one graph cost no more
than twice that.
"""

from __future__ import annotations

import time

import pytest

from bench.meter import Player
from bench.wakeups import wakeups_per_sec
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

RATE = 48000
NEEDED = 3
A_SECOND = 12
"""Beside the cycles: Python looks at its streams once a second, a busy machine wakes a thread that
waits for a lock."""
SETTLED_SEC = 7.0
"""Until the frontend knows the backend's clock; it listens again 16 s later."""
WINDOWS = 12


@pytest.mark.parametrize(
    ("quantum", "source"), [(256, ""), (1024, ""), (256, SOURCE), (1024, SOURCE)]
)
def test_three_wakeups_a_cycle(quantum: int, source: str) -> None:
    with Testbed(card_nodes(), rate=RATE, quantum_frames=quantum) as bed:
        bed.wait_for_node()
        assert bed.frontend is not None and bed.backend is not None
        sec = SETTLED_SEC + WINDOWS
        player = Player(bed.guest, SINK, quantum, RATE, source=source, sec=sec)
        time.sleep(SETTLED_SEC)
        halves = {"frontend": bed.frontend.pid, "backend": bed.backend.pid}
        woken = wakeups_per_sec(halves, WINDOWS)
        cycles, missed = player.missed_cycles()
    print(woken, cycles, missed)
    audio = sum(n for half in woken.values() for name, n in half.items() if name != "python")
    streams = 2 if source else 1
    assert audio / (RATE / quantum) >= 1  # it played
    assert audio <= streams * NEEDED * RATE / quantum + A_SECOND
