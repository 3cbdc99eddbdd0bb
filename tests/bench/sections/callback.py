"""What the audio callback in C costs the data loop's thread: CPU time of process().

The frontend times one cycle in sixteen; its status tells the last one. Here is the median of what
was told while a duplex client ran.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

from bench.meter import Player
from bench.report import Found, Scope
from bench.sides.side import RATE
from xenpvaudio.testbed.testbed import GUEST_DOMID, SINK, SOURCE, Testbed, card_nodes

SMALL = 64
"""Beside the scope's quanta."""


def told(bed: Testbed) -> dict[str, float]:
    """Microseconds now, by node; a stream that has run no sixteen cycles yet has none."""
    command = [sys.executable, "-m", "xenpvaudio", "status", "--json"]
    done = subprocess.run(
        command, env=bed.environ(GUEST_DOMID), capture_output=True, text=True, check=True
    )
    halves = json.loads(done.stdout)
    streams = [s for half in halves for card in half["cards"] for s in card["streams"]]
    return {s["node"]: s["callback_usec"] for s in streams if s.get("callback_usec")}


def of(quantum: int, seconds: float) -> dict[str, list[float]]:
    shown: dict[str, list[float]] = {SINK: [], SOURCE: []}
    with Testbed(
        card_nodes(),
        rate=RATE,
        quantum_frames=quantum,
        host_environ=os.environ,  # the device needs no PipeWire on the host
        backend_args=["--allow-microphone", "--output", "loopback,delay=40ms,gain=-6dB"],
    ) as bed:
        bed.wait_for_node(SINK)
        bed.wait_for_node(SOURCE)
        player = Player(bed.guest, SINK, quantum, RATE, source=SOURCE, sec=seconds + 3)
        until = time.monotonic() + seconds
        time.sleep(2)
        while time.monotonic() < until:
            for name, usec in told(bed).items():
                shown[name].append(usec)
            time.sleep(0.5)
        player.missed_cycles()
    return shown


def run(scope: Scope) -> Found:
    made = Found("The audio callback, us of CPU", ["quantum", "", "samples", "median", "largest"])
    seconds = 4.0 if scope.quick else 20.0
    for quantum in [*scope.quanta, *([] if scope.quick else [SMALL])]:
        for name, values in of(quantum, seconds).items():
            if not values:
                made.notes.append(f"{quantum}: {name}: nothing was told")
                continue
            median = statistics.median(values)
            made.rows.append(
                [str(quantum), name, str(len(values)), f"{median:.1f}", f"{max(values):.1f}"]
            )
            made.figures[f"{name} {quantum}"] = values
    return made
