"""Clients that come and go cost those that stay nothing: no silence, no cycle, no latency.

A client that wants less latency changes the quantum of the whole graph, and the graph is built
anew. PipeWire's own devices start the next cycle at its time then, whatever became of the last.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from subprocess import DEVNULL

from interop.sound import (
    LIMIT_SEC,
    RATE,
    Recording,
    despite_stalls,
    eventually,
    heard,
    noise,
    write_noise,
)
from xenpvaudio.testbed import SINK, SOURCE, Testbed, card_nodes

# They stay for a while, are gone for a while, three times.
JOINS, STAYS_SEC, GONE_SEC = 3, 1.5, 1.0
# Figures are told once a second.
TOLD_SEC = 1.5
# Longer than any lead; it comes back within a minute.
STALL_SEC, BACK_SEC = 0.06, 60


def figure(bed: Testbed, node: str, name: str) -> float:
    return float((bed.node(node) or {}).get(f"xenpv.{name}", "nan"))


def wait_until_running(bed: Testbed, node: str) -> None:
    eventually(lambda: (bed.node(node) or {}).get("xenpv.state") == "running", "nothing runs")


@despite_stalls
def test_a_recorder_that_wants_less_latency_costs_the_others_none(tmp_path: Path) -> None:
    with Testbed(card_nodes(formats=["s16_le"])) as bed:
        bed.wait_for_node(SOURCE)
        recording = Recording(bed.guest, SOURCE, tmp_path / "long.wav")
        wait_until_running(bed, SOURCE)
        time.sleep(2)
        before = figure(bed, SOURCE, "delay-ms")
        for _ in range(JOINS):
            command = ["parecord", "--latency-msec=10", "-d", SOURCE, str(tmp_path / "b.wav")]
            client = bed.guest.popen(command, stdout=DEVNULL, stderr=DEVNULL)
            time.sleep(STAYS_SEC)
            client.send_signal(signal.SIGINT)
            client.wait(LIMIT_SEC)
            time.sleep(GONE_SEC)
        time.sleep(TOLD_SEC)
        found = (figure(bed, SOURCE, "xruns"), figure(bed, SOURCE, "delay-ms"))
        recording.stop()
        assert found == (0, before)


@despite_stalls
def test_latency_that_a_stall_cost_comes_back_and_nobody_hears_it(tmp_path: Path) -> None:
    # the guard of a period of 1024 is more than the 10 ms that it may grow to
    with Testbed(
        card_nodes(formats=["s16_le"]),
        quantum_frames=256,
        frontend_args=["--period-frames", "256"],
    ) as bed:
        bed.wait_for_node(SINK)
        assert bed.frontend is not None and bed.loudspeaker is not None
        samples = noise((BACK_SEC + 10) * RATE, 2)
        file = write_noise(tmp_path / "a.wav", samples, 2)
        first = bed.loudspeaker.frames
        player = bed.guest.popen(["pw-play", "--target", SINK, str(file)])
        wait_until_running(bed, SINK)
        time.sleep(TOLD_SEC)
        before = figure(bed, SINK, "delay-ms")
        bed.frontend.send_signal(signal.SIGSTOP)
        time.sleep(STALL_SEC)
        bed.frontend.send_signal(signal.SIGCONT)
        time.sleep(TOLD_SEC)
        assert figure(bed, SINK, "delay-ms") > before, "the stall left no trace"
        eventually(lambda: figure(bed, SINK, "delay-ms") <= before, "it stays", BACK_SEC)
        assert player.wait(BACK_SEC + LIMIT_SEC) == 0
        result = heard(bed, first, samples, 2)
        assert (result.lost, result.duplicated, result.reordered, result.corrupted) == (0, 0, 0, 0)
        assert result.gaps == figure(bed, SINK, "xruns"), result
