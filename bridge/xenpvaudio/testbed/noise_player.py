"""A measuring client as a process of its own: plays a noise that never repeats, reports its marks.

`python -m xenpvaudio.testbed.noise_player` runs in the session to be measured and prints one JSON
object. Whoever started it knows the noise (same seed) and looks for it at the other end, or in what
the probe has captured itself meanwhile; the two together give the delay that applications are told,
and the true one.
"""

from __future__ import annotations

import argparse
import array
import json
import random
import select
import sys
import time
from dataclasses import dataclass

from xenpvaudio.errors import UnavailableError, XenPvAudioError

SEED = 20120411
PEAK = 300
"""Of 32768: quiet, and exact in every linear format from 16 bits on."""


def noise(frames: int, channels: int, seed: int = SEED, *, peak: int = PEAK) -> array.array[float]:
    """`frames` of interleaved float32 noise, alike in all channels, never 0; peak: of 32768."""
    source = random.Random(seed)
    samples: array.array[float] = array.array("f")
    for _ in range(frames):
        value = source.randint(1, peak) * source.choice((-1, 1)) / 32768
        samples.extend([value] * channels)
    return samples


@dataclass(frozen=True, slots=True)
class Measurement:
    """Marks as [frame, cycle, told] (ns); `captured` is interleaved."""

    marks: list[list[int]]
    capture_marks: list[list[int]]
    captured: array.array[float]


def measure(
    target: str,
    rate: int,
    channels: int,
    quantum_frames: int,
    samples: array.array[float],
    *,
    source: str = "",
    capture_frames: int = 0,
) -> Measurement:
    """Plays `samples` to `target` and captures from `source` meanwhile, on one data loop.

    capture_frames: 0 to play only. Raises UnavailableError if a node takes or gives no sound.
    """
    from xenpvaudio_native.pipewire import Pipewire
    from xenpvaudio_native.plane import Plane
    from xenpvaudio_native.probe import Probe

    frames = len(samples) // channels
    plane = Plane()
    pipewire = Pipewire(plane, "Xen PV Audio probe")
    pipewire.connect()
    probe = Probe(
        pipewire,
        rate=rate,
        channels=channels,
        quantum_frames=quantum_frames,
        samples=samples,
        play_target=target,
        capture_target=source,
        capture_frames=capture_frames,
    )
    deadline = time.monotonic() + 10 + max(frames, capture_frames) / rate
    try:
        while probe.played_frames < frames or probe.captured_frames < capture_frames:
            select.select([pipewire.fileno()], [], [], 0.05)
            for event in pipewire.dispatch():
                if event.text:
                    raise UnavailableError(f"the probe cannot play to {target}: {event.text}")
            if time.monotonic() > deadline:
                silent = target if probe.played_frames < frames else source
                raise UnavailableError(f"{silent or 'the default device'} ran dry for 10 s")
        time.sleep(2 * quantum_frames / rate)  # the last quantum leaves with the next cycle
        return Measurement(
            [list(mark) for mark in probe.marks()],
            [list(mark) for mark in probe.marks(capture=True)] if capture_frames else [],
            probe.captured() if capture_frames else array.array("f"),
        )
    finally:
        probe.free()
        pipewire.close()
        plane.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m xenpvaudio.testbed.noise_player", description=__doc__
    )
    parser.add_argument("--target", default="")
    parser.add_argument("--source", default="")
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--quantum", type=int, default=1024)
    parser.add_argument("--frames", type=int, default=48000)
    parser.add_argument("--peak", type=int, default=PEAK)
    parser.add_argument("--capture-frames", type=int, default=0)
    parser.add_argument("--capture-file", default="", help="raw float32, what was captured")
    a = parser.parse_args()
    try:
        done = measure(
            a.target,
            a.rate,
            a.channels,
            a.quantum,
            noise(a.frames, a.channels, peak=a.peak),
            source=a.source,
            capture_frames=a.capture_frames,
        )
    except XenPvAudioError as error:
        print(f"xen-pv-audio: {error}", file=sys.stderr)
        return error.exit_status
    if a.capture_file:
        with open(a.capture_file, "wb") as file:
            done.captured.tofile(file)
    json.dump({"marks": done.marks, "capture_marks": done.capture_marks}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
