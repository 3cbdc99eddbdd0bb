"""Both halves on the simulated hypervisor, with and without a PipeWire on the host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.testbed import SINK, Testbed, card_nodes

from .side import RATE, Side, session


def of(name: str, bed: Testbed) -> Side:
    """Of a bed that runs; its host's daemon counts where it has one."""
    bed.wait_for_node()
    assert bed.frontend is not None and bed.backend is not None
    guest = bed.guest.pids()
    processes = {
        "daemon": guest["pipewire"],
        "frontend": bed.frontend.pid,
        "backend": bed.backend.pid,
    }
    return Side(name, bed.guest, SINK, processes, {"session manager": guest["wireplumber"]})


def bed(quantum: int, *output: str, **options: object) -> Testbed:
    return Testbed(
        card_nodes(capture=False),
        rate=RATE,
        quantum_frames=quantum,
        host_environ=os.environ,
        backend_args=output,
        **options,  # type: ignore[arg-type]
    )


@contextmanager
def null_output(_folder: Path, quantum: int) -> Iterator[Side]:
    """The backend's own clock, no PipeWire on the host."""
    with bed(quantum, "--output", "null") as started:
        yield of("ours, null output", started)


@contextmanager
def pipewire_host(folder: Path, quantum: int) -> Iterator[Side]:
    """The host plays to a null sink of its PipeWire, whose daemon counts."""
    with (
        session(folder, "our-host", quantum, pwconf.null_sink()) as host,
        Testbed(
            card_nodes(capture=False),
            rate=RATE,
            quantum_frames=quantum,
            host_environ=host.env,
        ) as started,
    ):
        side = of("ours, PipeWire host", started)
        processes = {**side.processes, "host's daemon": host.pids()["pipewire"]}
        yield Side(side.name, side.session, side.sink, processes, side.beside)
