"""PipeWire's own devices within one daemon."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.session import PipeWireSession

from .side import SINK, Side, module, session

HEARD = "heard"


def within(name: str, started: PipeWireSession) -> Side:
    pids = started.pids()
    beside = {"session manager": pids["wireplumber"]}
    return Side(name, started, SINK, {"daemon": pids["pipewire"]}, beside)


@contextmanager
def null_sink(folder: Path, quantum: int) -> Iterator[Side]:
    """Plays to nobody, and has no path at all."""
    with session(folder, "null", quantum, pwconf.null_sink(SINK)) as started:
        yield within("null sink", started)


@contextmanager
def pipe_tunnel(folder: Path, quantum: int) -> Iterator[Side]:
    """Writes what it is given to a FIFO, and whoever reads there is not counted: no clock of the
    other end, no playout."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)

    def drain() -> None:
        with fifo.open("rb", buffering=0) as reader:
            while reader.read(1 << 16):
                pass

    threading.Thread(target=drain, daemon=True).start()
    with session(folder, "pipe", quantum, pwconf.pipe_sink(fifo, SINK)) as started:
        yield within("pipe-tunnel", started)


@contextmanager
def loopback(folder: Path, quantum: int) -> Iterator[Side]:
    """A sink whose sound goes on to a null sink."""
    args = f"""audio.position = [ FL FR ]
      capture.props = {{ node.name = {SINK} media.class = Audio/Sink }}
      playback.props = {{ node.name = {SINK}-out node.target = {HEARD} target.object = {HEARD} }}"""
    fragments = (pwconf.null_sink(HEARD), module("loopback", args))
    with session(folder, "loop", quantum, *fragments) as started:
        yield within("loopback", started)
