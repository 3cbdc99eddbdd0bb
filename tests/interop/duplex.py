"""Plays on the card's sink and captures its source at once, as `xen-pv-audio latency` does."""

from __future__ import annotations

from xenpvaudio.measure.duplex import DuplexRun, run_duplex
from xenpvaudio.measure.latency import RATE, simulated
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed


def duplex_on(
    bed: Testbed, seconds: float, quantum_frames: int, *, separate: bool = False
) -> DuplexRun:
    return run_duplex(
        bed.guest.env,
        sink=SINK,
        source=SOURCE,
        rate=RATE,
        quantum_frames=quantum_frames,
        seconds=seconds,
        separate=separate,
    )


def duplex(
    output: str, seconds: float, quantum_frames: int, *, separate: bool = False
) -> DuplexRun:
    """On latency's simulated set-up with this output of the backend."""
    with simulated(output, quantum_frames) as (_, bed):
        return duplex_on(bed, seconds, quantum_frames, separate=separate)
