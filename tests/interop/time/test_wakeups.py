"""What it costs to play: how often the processors are woken for it.

One stream at any quantum: the host's cycle wakes the backend once, the guest's the frontend twice
(to start it, and when it is done), and nothing else does. A sink and a source in one graph cost no
more than twice that.
"""

from __future__ import annotations

import time

import pytest

from bench.meter import Player
from bench.wakeups import wakeups_per_sec
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

RATE = 48000
PERIOD = 512
"""The frontend's if it is not told another, and the longest quantum that it lets the backend ask
its host for: with one as long as the guest's quantum a sink costs three wake-ups a cycle in all."""
A_SECOND = 6
"""Of each half, beside the cycles: Python looks at its streams once a second, and a thread may wait
for a lock."""
SETTLED_SEC = 7.0
"""Until the frontend knows the backend's clock; it listens again 16 s later."""
WINDOWS = 12


@pytest.mark.parametrize(
    ("quantum", "source", "period"),
    [
        (256, "", PERIOD),
        (1024, "", PERIOD),
        (1024, "", 1024),
        (256, SOURCE, PERIOD),
        (1024, SOURCE, PERIOD),
    ],
)
def test_three_wakeups_a_cycle(quantum: int, source: str, period: int) -> None:
    arguments = ("--period-frames", str(period))
    with Testbed(card_nodes(), rate=RATE, quantum_frames=quantum, frontend_args=arguments) as bed:
        bed.wait_for_node()
        assert bed.frontend is not None and bed.backend is not None
        sec = SETTLED_SEC + WINDOWS
        player = Player(bed.guest, SINK, quantum, RATE, source=source, sec=sec)
        time.sleep(SETTLED_SEC)
        halves = {"frontend": bed.frontend.pid, "backend": bed.backend.pid}
        woken = wakeups_per_sec(halves, WINDOWS)
        cycles, missed = player.missed_cycles()
    print(woken, cycles, missed)
    streams = 2 if source else 1
    for half, needed_per_sec in (
        ("frontend", 2 * RATE / quantum),
        ("backend", RATE / min(quantum, period)),
    ):
        audio = sum(n for name, n in woken[half].items() if name != "main thread")
        assert audio >= needed_per_sec / 2, half  # it played
        assert audio <= streams * needed_per_sec + A_SECOND, half
