"""Many streams of many guests on one backend: what each costs, and what the machine still keeps up
with, beside as many applications on PipeWire's null sink.

Three streams of four play, the fourth records. Costs are of the backend and of all frontends; what
a guest's own PipeWire needs is the same with any sink. One more application, which plays to the
first sink, tells how many cycles were missed. Memory is what belongs to the processes alone: a
stream's shared buffer is not in it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.meter import Player
from bench.report import Found, Scope
from bench.sides.side import RATE, session, write_noise
from bench.window import Window, watch
from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import SINK, Guest, Testbed, card_nodes, find_node

QUANTUM = 1024
# (streams, guests)
QUICK = ((1, 1), (4, 2))
FULL = ((1, 1), (4, 1), (4, 4), (16, 1), (16, 4), (16, 16), (64, 4), (64, 16))
MODEL_STREAMS = 256
NULL = "null-loudspeaker"
FIRST_MORE_DOMID = 2
APPEAR_SEC = 120.0
MONITOR = {"PIPEWIRE_PROPS": "{ stream.capture.sink = true }"}


def captures(stream: int) -> bool:
    return stream % 4 == 3


def nodes(streams: int) -> dict[str, str]:
    """A card with a PCM device for each stream."""
    card = {
        key: text
        for key, text in card_nodes(formats=["s16_le"], capture=False).items()
        if not key.startswith("0/")
    }
    for pcm in range(streams):
        card |= {f"{pcm}/name": f"PCM {pcm}", f"{pcm}/0/type": "c" if captures(pcm) else "p"}
    return card


def node_name(stream: int) -> str:
    return f"xenpv_{'source' if captures(stream) else 'sink'}.0.{stream}.0"


def appear(session: PipeWireSession, name: str) -> None:
    until = time.monotonic() + APPEAR_SEC
    while find_node(session, name) is None:
        if time.monotonic() > until:
            raise RuntimeError(f"{name} does not appear in {session.name}")
        time.sleep(0.1)


@contextmanager
def crowd(streams: int, guests: int) -> Iterator[tuple[Testbed, list[Guest]]]:
    """All connected; `streams` of each guest, which are as many as these."""
    with Testbed(
        nodes(streams),
        rate=RATE,
        quantum_frames=QUANTUM,
        host_environ=os.environ,
        backend_args=["--allow-microphone", "--output", "null"],
    ) as bed:
        appear(bed.guest, node_name(streams - 1))
        everybody = [Guest(1, "demo-guest", bed.guest, bed.frontend)]
        for domid in range(FIRST_MORE_DOMID, FIRST_MORE_DOMID + guests - 1):
            everybody.append(bed.add_guest(domid, f"guest-{domid}", nodes(streams)))
            appear(everybody[-1].session, node_name(streams - 1))
        yield bed, everybody


@contextmanager
def applications(
    sessions: Sequence[PipeWireSession],
    names: Sequence[str],
    noise: Path,
    recorder: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """One for each of these nodes in every session. `recorder`: more of the environment of those
    that record."""
    started = []
    for one in sessions:
        for number, name in enumerate(names):
            program, file = ("pw-record", os.devnull) if captures(number) else ("pw-play", noise)
            command = [program, "--target", name, f"--latency={QUANTUM}", str(file)]
            more = dict(recorder or {}) if captures(number) else {}
            started.append(one.popen(command, stdout=subprocess.DEVNULL, env=more))
    try:
        yield
        if ended := [p.args for p in started if p.poll() is not None]:
            raise RuntimeError(f"{len(ended)} applications have ended, the first was {ended[0]}")
    finally:
        for process in started:
            process.kill()
            process.wait()


def own_kib(pid: int) -> int:
    """Memory that is this process's alone."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^RssAnon:\s+(\d+)", status, re.M)[0])


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def xruns(bed: Testbed, everybody: Sequence[Guest]) -> int:
    """As the frontends' status tells them."""
    total = 0
    for guest in everybody:
        command = [sys.executable, "-m", "xenpvaudio", "status", "--json"]
        done = subprocess.run(
            command, env=bed.environ(guest.domid), capture_output=True, text=True, check=False
        )
        total += sum(all_of(json.loads(done.stdout), "xruns"))
    return total


def all_of(told: Any, key: str) -> Iterator[int]:
    """The values of `key`, however deep."""
    if isinstance(told, dict):
        yield from (value for name, value in told.items() if name == key)
        for value in told.values():
            yield from all_of(value, key)
    elif isinstance(told, list):
        for value in told:
            yield from all_of(value, key)


@dataclass
class Cost:
    """Of one number of streams and guests."""

    streams: int
    guests: int
    window: Window
    backend_kib: float
    frontend_kib: float
    """More than before the streams were opened, of each stream."""
    descriptors: int
    xruns: int
    missed: int
    cycles: int
    null_missed: int

    @property
    def backend_msec(self) -> float:
        return self.window.cpu_msec["backend"]

    @property
    def frontends_msec(self) -> float:
        return sum(self.window.cpu_msec.values()) - self.backend_msec

    @property
    def wakes(self) -> float:
        return sum(self.window.wakes.values())


def missed(one: PipeWireSession, sink: str, seconds: float) -> Player:
    return Player(one, sink, QUANTUM, RATE, sec=seconds)


def of_null_sink(scope: Scope, streams: int, noise: Path) -> int:
    """Missed cycles with as many applications on a null sink and its monitor."""
    folder = scope.folder / f"null-{streams}"
    with (
        session(folder, "null", QUANTUM, pwconf.null_sink(NULL)) as one,
        applications([one], [NULL] * streams, noise, MONITOR),
    ):
        time.sleep(scope.warm_sec)
        return missed(one, NULL, scope.window_sec).missed_cycles()[1]


def cost(scope: Scope, streams: int, guests: int, noise: Path) -> Cost:
    each = streams // guests
    with ExitStack() as stack:
        bed, everybody = stack.enter_context(crowd(each, guests))
        assert bed.backend is not None
        pids = {"backend": bed.backend.pid}
        for guest in everybody:
            assert guest.frontend is not None
            pids[guest.name] = guest.frontend.pid
        before = {name: own_kib(pid) for name, pid in pids.items()}
        held = sum(descriptors(pid) for pid in pids.values())
        sessions = [guest.session for guest in everybody]
        names = [node_name(number) for number in range(each)]
        with applications(sessions, names, noise):
            time.sleep(scope.warm_sec + 0.1 * streams)
            early = xruns(bed, everybody)
            player = missed(bed.guest, SINK, scope.window_sec)
            window = watch(pids, scope.window_sec)
            after = {name: own_kib(pid) for name, pid in pids.items()}
            held = sum(descriptors(pid) for pid in pids.values()) - held
            cycles, lost = player.missed_cycles()
            late = xruns(bed, everybody)
    grown = {name: after[name] - before[name] for name in pids}
    backend_kib = grown.pop("backend")
    return Cost(
        streams,
        guests,
        window,
        backend_kib / streams,
        sum(grown.values()) / streams,
        held,
        late - early,
        lost,
        cycles,
        of_null_sink(scope, streams, noise),
    )


def row(c: Cost) -> list[str]:
    total = c.backend_msec + c.frontends_msec
    return [
        str(c.streams),
        str(c.guests),
        f"{c.backend_msec:.1f} + {c.frontends_msec:.1f}",
        f"{total / c.streams:.2f}",
        f"{c.wakes:.0f}",
        f"{c.backend_kib:.0f} + {c.frontend_kib:.0f}",
        f"{c.descriptors / c.streams:.1f}",
        str(c.xruns),
        f"{c.missed} of {c.cycles}",
        str(c.null_missed),
        "yes" if c.window.stalled else "-",
    ]


def model(costs: Sequence[Cost]) -> str:
    """To MODEL_STREAMS streams: a line through what the backend needed, whose audio is one thread's
    work. Each guest has processors of its own, so the frontends do not add up."""
    streams = np.array([float(c.streams) for c in costs])
    msec = np.array([c.backend_msec for c in costs])
    slope, base = (float(v) for v in np.polyfit(streams, msec, 1))
    told = base + slope * MODEL_STREAMS
    full = (1000 - base) / slope if slope > 0 else float("inf")
    return (
        f"model: backend {base:.1f} + {slope:.2f} ms/s a stream: {told:.0f} ms/s of one processor "
        f"for {MODEL_STREAMS} streams; one thread is full at {full:.0f}, which breaks first: more "
        "processors help the guests, not it. Assumed: a stream costs the same whichever guest has "
        "it, and no cache gets too small"
    )


def run(scope: Scope) -> Found:
    head = ["streams", "guests", "backend + frontends, ms/s", "a stream", "wake-ups/s"]
    head += ["KiB a stream", "descriptors", "xruns", "missed", "null sink missed", "stalled"]
    made = Found(f"Many streams at quantum {QUANTUM}, {scope.window_sec:g} s each", head)
    noise = write_noise(scope.folder)
    costs = [cost(scope, *many, noise) for many in (QUICK if scope.quick else FULL)]
    for c in costs:
        made.rows.append(row(c))
        made.figures[f"{c.streams} of {c.guests}"] = {
            "backend_msec_per_sec": c.backend_msec,
            "frontends_msec_per_sec": c.frontends_msec,
            "wakes_per_sec": c.wakes,
            "backend_kib_per_stream": c.backend_kib,
            "frontend_kib_per_stream": c.frontend_kib,
            "descriptors": c.descriptors,
            "xruns": c.xruns,
            "missed_cycles": [c.missed, c.cycles],
            "null_sink_missed_cycles": c.null_missed,
            "stall_msec": c.window.stall_msec,
        }
    made.notes.append(model(costs))
    return made
