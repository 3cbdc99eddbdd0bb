"""What a guest's sink costs: ours beside PipeWire's null sink and its pipe-tunnel, same run."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from bench.meter import Player, cpu_per_cycle_usec, resident_kib, table
from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import SINK, Testbed, card_nodes

RATE = 48000
MEMORY_LIMIT_KIB = 40 * 1024
VISIBLE_LIMIT_SEC = 1.0


def _drain(fifo: Path) -> None:
    def run() -> None:
        fd = os.open(fifo, os.O_RDONLY)
        while os.read(fd, 1 << 16):
            pass

    os.mkfifo(fifo)
    threading.Thread(target=run, daemon=True).start()


def _peer(tmp_path: Path, name: str, quantum: int) -> tuple[float, float]:
    """CPU a cycle of a session's daemon that plays to a peer's sink."""
    fifo = tmp_path / f"{name}.fifo"
    fragment = pwconf.null_sink("peer")
    if name == "pipe-tunnel":
        _drain(fifo)
        fragment = pwconf.pipe_sink(fifo, "peer", rate=RATE)
    with PipeWireSession(
        tmp_path / name,
        name=name,
        rate=RATE,
        quantum=quantum,
        max_quantum=quantum,
        fragments=[fragment],
    ) as session:
        player = Player(session, "peer", quantum, RATE)
        time.sleep(1.5)
        figures = cpu_per_cycle_usec([session.pids()["pipewire"]], quantum, RATE)
        player.missed_cycles()
        return figures


@pytest.mark.parametrize("quantum", [256, 1024])
def test_cpu_a_cycle(tmp_path: Path, quantum: int) -> None:
    rows = []
    with Testbed(card_nodes(), rate=RATE, quantum_frames=quantum) as bed:
        bed.wait_for_node()
        assert bed.frontend is not None and bed.backend is not None
        player = Player(bed.guest, SINK, quantum, RATE)
        time.sleep(1.5)
        daemon = bed.guest.pids()["pipewire"]
        front, steal = cpu_per_cycle_usec([bed.frontend.pid], quantum, RATE)
        back, _ = cpu_per_cycle_usec([bed.backend.pid], quantum, RATE)
        player.missed_cycles()
        player = Player(bed.guest, SINK, quantum, RATE)
        time.sleep(1.5)
        both, _ = cpu_per_cycle_usec([bed.frontend.pid, daemon], quantum, RATE)
        player.missed_cycles()
        rows.append(["our frontend process", f"{front:.0f}", f"{steal:.1%}"])
        rows.append(["our frontend + guest daemon", f"{both:.0f}", ""])
        rows.append(["our backend process", f"{back:.0f}", ""])
    for name in ("null sink", "pipe-tunnel"):
        cpu, steal = _peer(tmp_path, name, quantum)
        rows.append([f"{name} (in its daemon)", f"{cpu:.0f}", f"{steal:.1%}"])
    print(table(f"CPU a cycle at quantum {quantum}", ["", "us a cycle", "stolen"], rows))
    assert front > 0


def test_memory_and_time_until_the_sink_is_visible(tmp_path: Path) -> None:
    with Testbed(card_nodes(), rate=RATE) as bed:
        bed.wait_for_node()
        assert bed.frontend is not None and bed.backend is not None
        bed.frontend.terminate()
        bed.frontend.wait()
        began = time.monotonic()
        bed.start_frontend()
        while bed.node() is None:
            pass
        visible = time.monotonic() - began
        player = Player(bed.guest, SINK, 1024, RATE)
        player.missed_cycles()
        front, back = resident_kib(bed.frontend.pid), resident_kib(bed.backend.pid)
        daemon = resident_kib(bed.guest.pids()["pipewire"])
        wireplumber = resident_kib(bed.guest.pids()["wireplumber"])
    rows = [
        ["our frontend", f"{front / 1024:.1f}"],
        ["our backend", f"{back / 1024:.1f}"],
        ["pipewire", f"{daemon / 1024:.1f}"],
        ["wireplumber", f"{wireplumber / 1024:.1f}"],
    ]
    print(table("Resident memory after playing", ["", "MiB"], rows))
    print(f"  start to sink visible: {visible:.2f} s (with pw-dump asking)")
    assert front < MEMORY_LIMIT_KIB
    assert back < MEMORY_LIMIT_KIB
    assert visible < VISIBLE_LIMIT_SEC
