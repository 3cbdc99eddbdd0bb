"""Small quanta beside PipeWire's null sink, in the same session and the same time.

Cycles that a playing client missed; and, with playback and capture at once, breaks in the sound:
wherever frames were lost, repeated or replaced by silence on the way, the delay of what comes back
steps. The null sink's sound comes back by its monitor. XPA_BENCH_LONG_SEC: how long the duplex
streams play (600 s at 64 frames).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.meter import Player, joined, long_seconds
from bench.peers import judge
from bench.report import Found, Scope
from xenpvaudio.measure.duplex import run_duplex
from xenpvaudio.measure.timing import Truth
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

RATE = 48000
NULL = "null-loudspeaker"
PIECE_SEC = 60.0
SETTLE_FRAMES = 2 * RATE
PATH_FRAMES = 1920
PLAYED = (1024, 512, 256, 128, 64)


def missed(quantum: int, seconds: float) -> list[list[str]]:
    with Testbed(
        card_nodes(capture=False),
        rate=RATE,
        quantum_frames=quantum,
        guest_null_sink=True,
        host_environ=os.environ,
        backend_args=["--output", "null"],
    ) as bed:
        bed.wait_for_node()
        players = {
            name: Player(bed.guest, sink, quantum, RATE, sec=seconds)
            for name, sink in (("ours", SINK), ("null sink", NULL))
        }
        found = {name: player.missed_cycles() for name, player in players.items()}
        node = bed.node() or {}
    silence = {"ours": str(node.get("xenpv.xruns", "?")), "null sink": "-"}
    return [
        [str(quantum), name, "playback", f"{seconds:g}", str(cycles), str(lost), silence[name], "-"]
        for name, (cycles, lost) in found.items()
    ]


@dataclass
class Tally:
    cycles: int = 0
    breaks: int = 0
    lost_share: float = 0.0  # the largest of any piece
    xruns: int = 0


def listen(session: PipeWireSession, sink: str, source: str, quantum: int, sec: float) -> Tally:
    """One piece: plays to `sink`, captures `source`, and looks where the sound broke."""
    run = run_duplex(
        {**session.env, **joined(sink, source)},
        sink=sink,
        source=source,
        rate=RATE,
        quantum_frames=quantum,
        seconds=sec,
        separate=True,  # the environment joins them
    )
    truth = Truth(0 if sink == source else PATH_FRAMES, 0)
    timing = judge(run.play_marks, run.capture_marks, run.captured, sec, truth)
    return Tally(
        cycles=len(run.capture_marks),
        breaks=sum(step["frame"] >= SETTLE_FRAMES for step in timing.steps),
        lost_share=1 - timing.found_share,
        xruns=run.xruns or 0,
    )


def duplex(quantum: int, all_sec: float) -> dict[str, Tally]:
    tallies = {"ours": Tally(), "null sink": Tally()}
    sinks = {"ours": (SINK, SOURCE), "null sink": (NULL, NULL)}
    left = all_sec
    with (
        Testbed(
            card_nodes(),
            rate=RATE,
            quantum_frames=quantum,
            guest_null_sink=True,
            host_environ=os.environ,  # the device needs no PipeWire on the host
            backend_args=[
                "--allow-microphone",
                *("--output", f"loopback,delay=40ms,gain=-6dB,quantum={quantum}"),
            ],
            frontend_args=["--period-frames", str(quantum)],
        ) as bed,
        ThreadPoolExecutor(2) as pool,
    ):
        bed.wait_for_node(SINK)
        bed.wait_for_node(SOURCE)
        while left > 0:
            sec = max(min(left, PIECE_SEC), 5.0)
            left -= sec
            pieces = {
                name: pool.submit(listen, bed.guest, *ends, quantum, sec + 2)
                for name, ends in sinks.items()
            }
            for name, piece in pieces.items():
                one, all_of_them = piece.result(), tallies[name]
                all_of_them.cycles += one.cycles
                all_of_them.breaks += one.breaks
                all_of_them.lost_share = max(all_of_them.lost_share, one.lost_share)
                all_of_them.xruns += one.xruns
    return tallies


def run(scope: Scope) -> Found:
    head = ["quantum", "", "", "seconds", "cycles", "missed or broken", "silence inserted", "lost"]
    made = Found("Small quanta, ours and the null sink at the same time", head)
    seconds = 5.0 if scope.quick else long_seconds()
    for quantum in (256,) if scope.quick else PLAYED:
        found = missed(quantum, seconds)
        made.rows += found
        made.figures[f"playback {quantum}"] = {row[1]: row[3:7] for row in found}
    if scope.quick:
        made.notes.append("duplex is not measured: it takes 10 minutes")
        return made
    for quantum in (64, 32):
        all_sec = long_seconds(600 if quantum == 64 else 60)
        tallies = duplex(quantum, all_sec)
        for name, t in tallies.items():
            shown = str(t.xruns) if name == "ours" else "-"
            lost = f"{t.lost_share:.2%}"
            counts = [str(t.cycles), str(t.breaks), shown, lost]
            made.rows.append([str(quantum), name, "duplex", f"{all_sec:g}", *counts])
        made.figures[f"duplex {quantum}"] = {name: vars(tally) for name, tally in tallies.items()}
    return made
