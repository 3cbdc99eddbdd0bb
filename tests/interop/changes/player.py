"""A process that plays a noise to one device and captures from it meanwhile, until told to stop.

`python -m interop.changes.player SINK SOURCE NOISE OUT`: NOISE holds raw float32 of two channels.
It prints "ready" when both directions run, ends when stdin does, and leaves in OUT what it captured
and in OUT.json its marks: what it was told of time in each cycle. It is the product's measuring
client: native, two streams, one data loop, no allocation in it.
"""

from __future__ import annotations

import array
import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interop.changes.place import QUANTUM_FRAMES, RATE, Device, Place
from xenpvaudio.measure.correlate import Floats
from xenpvaudio.testbed.noise_player import PEAK

CHANNELS = 2
_FRAME_BYTES = 4 * CHANNELS


def noise(seconds: float, seed: int) -> Floats:
    """One channel, exact in 16 bits, no sample 0."""
    source = np.random.default_rng(seed)
    values = source.integers(1, PEAK + 1, round(seconds * RATE))
    signs = 2 * source.integers(0, 2, len(values)) - 1
    return values * signs / 32768.0


def write_noise(path: Path, samples: Floats) -> None:
    """On the left; the right is silent, for changes that would otherwise feed sound back."""
    both = np.zeros((len(samples), CHANNELS), dtype=np.float32)
    both[:, 0] = samples
    path.write_bytes(both.tobytes())


@dataclass
class Player:
    """captured: the left channel. Marks as in probe.Measurement."""

    captured: Floats
    play_marks: list[list[int]]
    capture_marks: list[list[int]]


def _properties(device: Device) -> str:
    """WirePlumber 0.4 lets a stream follow the default device once it was linked to that, whatever
    it had asked for."""
    monitor = "stream.capture.sink = true" if device.monitor else ""
    return f"{{ node.dont-reconnect = true {monitor} }}"


@contextmanager
def player(place: Place, device: Device, noise_file: Path) -> Iterator[Player]:
    """Runs one; when left, what is yielded has been filled."""
    out = place.folder / f"{noise_file.stem}-captured.f32"
    command = [sys.executable, "-m", "interop.changes.player"]
    command += [device.sink, device.source, str(noise_file), str(out)]
    paths = [str(Path(__file__).parents[2]), *sys.path]
    process = place.guest.popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PIPEWIRE_PROPS": _properties(device), "PYTHONPATH": ":".join(filter(None, paths))},
    )
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == "ready\n", f"nothing plays to {device.sink}"
    found = Player(np.zeros(0), [], [])
    yield found
    process.stdin.close()
    assert process.wait() == 0
    both = np.fromfile(out, dtype=np.float32).reshape(-1, CHANNELS)
    found.captured = both[:, 0].astype(np.float64)
    marks = json.loads(Path(f"{out}.json").read_text())
    found.play_marks, found.capture_marks = marks["play"], marks["capture"]


def main(sink: str, source: str, noise_file: str, out: str) -> int:
    from xenpvaudio_native.pipewire import Pipewire
    from xenpvaudio_native.plane import Plane
    from xenpvaudio_native.probe import Probe

    samples: array.array[float] = array.array("f")
    samples.frombytes(Path(noise_file).read_bytes())
    plane = Plane()
    pipewire = Pipewire(plane, "Xen PV Audio changes")
    pipewire.connect()
    probe = Probe(
        pipewire,
        rate=RATE,
        channels=CHANNELS,
        quantum_frames=QUANTUM_FRAMES,
        samples=samples,
        play_target=sink,
        capture_target=source,
        capture_frames=len(samples) // CHANNELS,
    )
    told = False
    while True:
        readable, _, _ = select.select([pipewire.fileno(), sys.stdin], [], [], 0.02)
        for event in pipewire.dispatch():
            if event.text:
                print(event.text, file=sys.stderr)
                return 1
        if not told and probe.played_frames and probe.captured_frames:
            told = True
            print("ready", flush=True)
        if sys.stdin in readable:
            break
    Path(out).write_bytes(probe.captured().tobytes())
    marks = {
        "play": [list(mark) for mark in probe.marks()],
        "capture": [list(mark) for mark in probe.marks(capture=True)],
    }
    Path(f"{out}.json").write_text(json.dumps(marks))
    probe.free()
    pipewire.close()
    plane.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
