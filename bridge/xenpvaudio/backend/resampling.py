"""What PipeWire's resampler costs between a guest's rate and the host's. Pure.

It keeps a filter for each phase in which frames of both rates can lie to each other, and computes
them all when a stream begins, in this process and with everybody waiting. Rates that have a large
divisor in common meet in few phases: 44100 and 48000 in 160. Others meet in tens of thousands, and
the more is left out, the longer each filter is: at 767999 Hz it is 172 MB, and takes seconds.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, gcd

HOST_RATES = (48000, 44100)
"""What graphs run at, or a multiple of it, which costs some more."""
# PipeWire's usual quality, 4 (audioconvert/resample-native.c, window_qualities).
_TAPS, _CUTOFF = 48, 0.85
_LEAST_PHASES = 256
_FLOAT_BYTES, _ALIGNED_BYTES, _ALIGNED_TAPS = 4, 64, 8
# One more OPEN's worth of work.
_WORK_BYTES = 1 << 18


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _filter_bytes(from_rate: int, to_rate: int) -> int:
    common = gcd(from_rate, to_rate)
    steps, phases = from_rate // common, to_rate // common
    if steps == phases:
        return 0
    taps = _up(ceil(_TAPS / (_CUTOFF * min(1.0, phases / steps))), _ALIGNED_TAPS)
    phases *= -(-_LEAST_PHASES // phases)
    return (phases + 1) * _up(taps * _FLOAT_BYTES, _ALIGNED_BYTES)


@lru_cache(maxsize=1024)
def resampler_bytes(rate: int) -> int:
    """At the most, whether it plays or captures. `rate`: of the guest, 1 at least."""
    both = ((rate, host) for host in HOST_RATES)
    return max(max(_filter_bytes(one, other), _filter_bytes(other, one)) for one, other in both)


def as_opens(rate: int, limit_bytes: int) -> int:
    """How many usual OPENs are as much work as one at this rate; what is more than the limit is no
    work, for it is refused."""
    needed = resampler_bytes(rate)
    return 1 + needed // _WORK_BYTES if needed <= limit_bytes else 1
