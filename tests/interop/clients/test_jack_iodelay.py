"""The round trip by an independent tool: jack_iodelay through PipeWire's libjack."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

import pytest

from interop.jack import JackIodelay
from interop.sound import eventually
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

pytest.importorskip("numpy")

RATE = 48000
PATH_FRAMES = 1920  # of the loopback: 40 ms


def latency(bed: Testbed, quantum: int) -> dict[str, Any]:
    """What `xen-pv-audio latency` says of the same, running set-up."""
    command = [sys.executable, "-m", "xenpvaudio", "latency", "--json", "--yes", "--seconds", "5"]
    done = bed.guest.run(
        [*command, "--quantum", str(quantum)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("quantum", [1024, 256])
def test_jack_iodelay_finds_the_round_trip_that_latency_finds(quantum: int) -> None:
    with Testbed(
        card_nodes(),
        rate=RATE,
        quantum_frames=quantum,
        host_environ=os.environ,  # the device needs no PipeWire on the host
        backend_args=["--allow-microphone", "--output", "loopback,delay=40ms,gain=0dB,quantum=256"],
    ) as bed:
        nodes = (SINK, SOURCE)
        for name in nodes:
            bed.wait_for_node(name)
        ports = f"{SINK}:playback_FL", f"{SOURCE}:capture_FL"
        with JackIodelay(bed.guest, *ports) as jack:
            trips = jack.wait(14)[-5:]
        eventually(
            lambda: all((bed.node(name) or {})["xenpv.state"] == "suspended" for name in nodes),
            "the card is not left alone",
        )
        ours = latency(bed, quantum)
    print(trips, ours)
    total = statistics.median(trip.total_frames for trip in trips)
    extra = statistics.median(trip.extra_frames for trip in trips) + 0.5  # it rounds down
    # what the ports told JACK leaves the loopback's own path, and nothing else
    assert extra == pytest.approx(PATH_FRAMES, abs=1)
    our_total, our_extra = (ours[key] * RATE / 1000 for key in ("true_ms", "path_ms"))
    assert our_extra == pytest.approx(PATH_FRAMES, abs=1)
    # each start of the streams may have a lead of its own, and tells it
    told, we_told = total - extra, our_total - our_extra
    assert total == pytest.approx(our_total + told - we_told, abs=2)  # each within one frame
