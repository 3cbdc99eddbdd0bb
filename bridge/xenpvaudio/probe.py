"""A measuring client as a process of its own: plays a noise that never repeats, reports its marks.

`python -m xenpvaudio.probe` runs in the session to be measured and prints one JSON object. Whoever
started it knows the noise (same seed) and looks for it at the other end; the two together give the
delay that applications are told, and the true one.
"""

from __future__ import annotations

import argparse
import array
import json
import random
import select
import sys
import time

from .errors import UnavailableError, XenPvAudioError

SEED = 20120411
PEAK = 300
"""Of 32768: quiet, and exact in every linear format from 16 bits on."""


def noise(frames: int, channels: int, seed: int = SEED) -> array.array[float]:
    """`frames` of interleaved float32 noise, alike in all channels, never 0."""
    source = random.Random(seed)
    samples: array.array[float] = array.array("f")
    for _ in range(frames):
        value = source.randint(1, PEAK) * source.choice((-1, 1)) / 32768
        samples.extend([value] * channels)
    return samples


def measure(target: str, rate: int, channels: int, quantum_frames: int, frames: int) -> object:
    """Plays `frames` of noise to `target`; the marks as a list of [frame, cycle, told] (ns)."""
    from xenpvaudio_native.pipewire import Pipewire
    from xenpvaudio_native.plane import Plane
    from xenpvaudio_native.probe import Probe

    plane = Plane()
    pipewire = Pipewire(plane, "Xen PV Audio probe")
    pipewire.connect()
    probe = Probe(
        pipewire,
        rate=rate,
        channels=channels,
        quantum_frames=quantum_frames,
        samples=noise(frames, channels),
        play_target=target,
    )
    deadline = time.monotonic() + 10 + frames / rate
    try:
        while probe.played_frames < frames:
            select.select([pipewire.fileno()], [], [], 0.05)
            for event in pipewire.dispatch():
                if event.text:
                    raise UnavailableError(f"the probe cannot play to {target}: {event.text}")
            if time.monotonic() > deadline:
                raise UnavailableError(f"{target} took no sound for 10 s")
        time.sleep(2 * quantum_frames / rate)  # the last quantum leaves with the next cycle
        return [list(mark) for mark in probe.marks()]
    finally:
        probe.free()
        pipewire.close()
        plane.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m xenpvaudio.probe", description=__doc__)
    parser.add_argument("--target", default="")
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--quantum", type=int, default=1024)
    parser.add_argument("--frames", type=int, default=48000)
    a = parser.parse_args()
    try:
        marks = measure(a.target, a.rate, a.channels, a.quantum, a.frames)
    except XenPvAudioError as error:
        print(f"xen-pv-audio: {error}", file=sys.stderr)
        return error.exit_status
    json.dump({"marks": marks}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
