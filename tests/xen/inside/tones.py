"""What a recording of test tones holds; in dom0 and in tests, standard library only."""

from __future__ import annotations

import array
import json
import math
import pathlib
import sys
from collections.abc import Sequence


def loudness(samples: Sequence[int]) -> float:
    """Root of the mean square, 1.0 for a full-scale square wave of 16 bits."""
    return math.sqrt(sum(value * value for value in samples) / max(1, len(samples))) / 32768


def frequency_hz(samples: Sequence[int], rate: int) -> float:
    """Of a single tone, by its upward zero crossings; 0 if there are less than two."""
    ups = [i for i in range(1, len(samples)) if samples[i - 1] < 0 <= samples[i]]
    return (len(ups) - 1) * rate / (ups[-1] - ups[0]) if len(ups) > 1 else 0.0


def channels_in_turn(data: bytes, rate: int, block_frames: int = 2400) -> list[tuple[int, float]]:
    """(channel, Hz) of each stretch of S16 stereo in which one channel alone sounds, in order."""
    values = array.array("h", data[: len(data) // 4 * 4])
    stretches: list[tuple[int, list[int]]] = []
    for at in range(0, len(values), 2 * block_frames):
        sides = [values[at + side : at + 2 * block_frames : 2] for side in (0, 1)]
        loud = [loudness(side) > 0.01 for side in sides]
        if loud.count(True) != 1:
            continue
        channel = loud.index(True)
        if not stretches or stretches[-1][0] != channel:
            stretches.append((channel, []))
        stretches[-1][1].extend(sides[channel])
    return [(channel, frequency_hz(samples, rate)) for channel, samples in stretches]


if __name__ == "__main__":  # tones.py FILE.wav RATE: the same of a file, S16 stereo
    recorded = pathlib.Path(sys.argv[1]).read_bytes()[44:]
    print(json.dumps(channels_in_turn(recorded, int(sys.argv[2]))))
