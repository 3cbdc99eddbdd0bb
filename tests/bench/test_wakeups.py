"""Wake-ups and system calls a cycle of what is between an application and the host's device: both
halves, and what else PipeWire has for the purpose, one after the other on the same machine. Counts,
which a busy machine hardly changes; that the halves' are no more than they need be is for
tests/interop/time/test_wakeups.py.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.meter import Player, seconds, table
from bench.wakeups import SYSTEM_CALLS, system_calls_per_sec, wakeups_per_sec
from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import SINK, Testbed, card_nodes

RATE = 48000
SETTLED_SEC = 7.0
"""Until the frontend knows the backend's clock."""


def pulse_tunnel(server: str) -> str:
    """A fragment: a sink "peer" that plays into another session's PulseAudio socket."""
    return f"""\
context.modules = [
  {{ name = libpipewire-module-pulse-tunnel
    args = {{
      tunnel.mode = sink
      pulse.server.address = {pwconf.quote(server)}
      stream.props = {{ node.name = peer }}
    }}
  }}
]
"""


def drained(fifo: Path) -> None:
    def run() -> None:
        fd = os.open(fifo, os.O_RDONLY)
        while os.read(fd, 1 << 16):
            pass

    os.mkfifo(fifo)
    threading.Thread(target=run, daemon=True).start()


@contextmanager
def session(path: Path, name: str, quantum: int, fragment: str) -> Iterator[PipeWireSession]:
    with PipeWireSession(
        path / name,
        name=name,
        rate=RATE,
        quantum=quantum,
        max_quantum=quantum,
        fragments=[fragment],
    ) as made:
        yield made


def row(name: str, pids: Mapping[str, int], quantum: int) -> list[str]:
    """Of all these processes together, a cycle."""
    cycles_per_sec = RATE / quantum
    woken = wakeups_per_sec(pids, round(seconds()))
    total = sum(sum(threads.values()) for threads in woken.values()) / cycles_per_sec
    calls = system_calls_per_sec(list(pids.values()), seconds() / 2)
    counts = [f"{calls[call] / cycles_per_sec:.1f}" if calls else "?" for call in SYSTEM_CALLS]
    return [name, f"{total:.2f}", *counts]


def played(
    name: str, where: PipeWireSession, sink: str, pids: Mapping[str, int], quantum: int
) -> list[str]:
    player = Player(where, sink, quantum, RATE, sec=2 * seconds() + SETTLED_SEC)
    time.sleep(SETTLED_SEC)
    found = row(name, pids, quantum)
    player.process.kill()
    player.process.wait()
    return found


@pytest.mark.parametrize("quantum", [256, 1024])
def test_wakeups_a_cycle(tmp_path: Path, quantum: int) -> None:
    rows = []
    with Testbed(card_nodes(), rate=RATE, quantum_frames=quantum) as bed:
        bed.wait_for_node()
        assert bed.frontend is not None and bed.backend is not None and bed.host is not None
        halves = {"frontend": bed.frontend.pid, "backend": bed.backend.pid}
        daemons = {f"{s.name}'s": s.pids()["pipewire"] for s in (bed.guest, bed.host)}
        for name, pids in (
            ("our frontend", {"frontend": halves["frontend"]}),
            ("our backend", {"backend": halves["backend"]}),
            ("both halves, both daemons", {**halves, **daemons}),
        ):
            rows.append(played(name, bed.guest, SINK, pids, quantum))
    with session(tmp_path, "null", quantum, pwconf.null_sink("peer")) as where:
        pids = {"daemon": where.pids()["pipewire"]}
        rows.append(played("null sink, its daemon", where, "peer", pids, quantum))
    drained(tmp_path / "fifo")
    pipe = pwconf.pipe_sink(tmp_path / "fifo", "peer", rate=RATE)
    with session(tmp_path, "pipe", quantum, pipe) as where:
        pids = {"daemon": where.pids()["pipewire"]}
        rows.append(played("pipe-tunnel, its daemon", where, "peer", pids, quantum))
    with session(tmp_path, "host", quantum, pwconf.null_sink("far")) as host:
        tunnel = pulse_tunnel(host.env["PULSE_SERVER"])
        with session(tmp_path, "guest", quantum, tunnel) as where:
            pids = {"daemon": where.pids()["pipewire"]} | {
                f"far {name}": host.pids()[name] for name in ("pipewire", "pipewire-pulse")
            }
            rows.append(played("pulse-tunnel, both ends", where, "peer", pids, quantum))
    head = ["a cycle", "wake-ups", *SYSTEM_CALLS]
    print(table(f"Woken and asked of the kernel at quantum {quantum}", head, rows))
    assert all(float(row[1]) > 0 for row in rows)
