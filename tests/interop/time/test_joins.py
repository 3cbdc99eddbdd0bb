"""Clients that come and go cost those that stay nothing: no silence, no cycle, no latency.

A client that wants less latency changes the quantum of the whole graph, and the graph is built
anew. PipeWire's own devices start the next cycle at its time then, whatever became of the last.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from subprocess import DEVNULL

from interop.sound import LIMIT_SEC, Recording, eventually
from xenpvaudio.testbed.testbed import SOURCE, Testbed, card_nodes

# They stay for a while, are gone for a while, three times.
JOINS, STAYS_SEC, GONE_SEC = 3, 1.5, 1.0
# Figures are told once a second.
TOLD_SEC = 1.5


def figure(bed: Testbed, node: str, name: str) -> float:
    return float((bed.node(node) or {}).get(f"xenpv.{name}", "nan"))


def wait_until_running(bed: Testbed, node: str) -> None:
    eventually(lambda: (bed.node(node) or {}).get("xenpv.state") == "running", "nothing runs")


def test_a_recorder_that_wants_less_latency_costs_the_others_none(tmp_path: Path) -> None:
    with Testbed(card_nodes(formats=["s16_le"])) as bed:
        bed.wait_for_node(SOURCE)
        recording = Recording(bed.guest, SOURCE, tmp_path / "long.wav")
        wait_until_running(bed, SOURCE)
        time.sleep(2)
        before = figure(bed, SOURCE, "lead-ms")
        for _ in range(JOINS):
            command = ["parecord", "--latency-msec=10", "-d", SOURCE, str(tmp_path / "b.wav")]
            client = bed.guest.popen(command, stdout=DEVNULL, stderr=DEVNULL)
            time.sleep(STAYS_SEC)
            client.send_signal(signal.SIGINT)
            client.wait(LIMIT_SEC)
            time.sleep(GONE_SEC)
        time.sleep(TOLD_SEC)
        found = (figure(bed, SOURCE, "xruns"), figure(bed, SOURCE, "lead-ms"))
        recording.stop()
        assert found == (0, before)
