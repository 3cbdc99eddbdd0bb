"""What the audio callback in C costs the data loop's thread: CPU time of process(), sampled.

The frontend times one cycle in sixteen and shows the last one as a property, once a second; here is
the median of what was shown.
"""

from __future__ import annotations

import os
import statistics
import time

import pytest

from bench.meter import Player, machine_ticks, seconds, steal_fraction, table
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

RATE = 48000
LIMIT_USEC = 5.0
PROPERTY = "xenpv.callback-us"


@pytest.mark.parametrize("quantum", [1024, 256, 64])
def test_the_callback_is_cheap(quantum: int) -> None:
    ticks = machine_ticks()
    shown: dict[str, list[float]] = {SINK: [], SOURCE: []}
    backend = ["--allow-microphone", "--output", "loopback,delay=40ms,gain=-6dB"]
    with Testbed(
        card_nodes(),
        rate=RATE,
        quantum_frames=quantum,
        host_environ=os.environ,  # the device needs no PipeWire on the host
        backend_args=backend,
    ) as bed:
        bed.wait_for_node(SINK)
        bed.wait_for_node(SOURCE)
        player = Player(bed.guest, SINK, quantum, RATE, source=SOURCE, sec=3 * seconds())
        time.sleep(3)
        until = time.monotonic() + 3 * seconds()
        while time.monotonic() < until:
            time.sleep(1.0)
            for name, values in shown.items():
                value = float((bed.node(name) or {}).get(PROPERTY, 0))
                if value and value not in values[-1:]:
                    values.append(value)
        player.missed_cycles()
    steal = steal_fraction(ticks, machine_ticks())
    rows = [
        [name, str(len(v)), f"{statistics.median(v):.1f}", f"{max(v):.1f}"]
        for name, v in shown.items()
    ]
    head = ["", "samples", "median", "largest"]
    print(table(f"Callback at quantum {quantum}, us of CPU; {steal:.1%} stolen", head, rows))
    for name, values in shown.items():
        assert len(values) >= seconds() / 2, name
        assert statistics.median(values) <= LIMIT_USEC, name
