"""The volume extension's events from any backend, and a guest's volumes and mutes with those of the
host's mixer, in any order.

Invariant: 64 bytes are an event of at most 12 channels, whole and the same when it is written out
again, or one PeerProtocolError; whatever events come, however fast, what the route is shown and
what is left to PipeWire are finite volumes, none below 0, and at most so often; whatever is set on
either side of the host's mixer, each channel has a step of 32 bits and an amplitude from 0 to 10,
and the host's order stays.
"""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Sequence

from fuzz.clock import clock
from fuzz.source import Source
from xenpvaudio.errors import PeerProtocolError
from xenpvaudio.frontend import volume as front
from xenpvaudio.sndif import volume_ext
from xenpvaudio.sndif.volume import Mixer

LENGTHS = (64, 64, 64, 64, 0, 63, 65)
EDGES = (0, -1, 1, -200_000, -199_999, 20_000, 20_001, 0x7FFFFFFF, -0x80000000)
LINEAR = (0.0, 1.0, 0.5, 1e-10, 1e-40, 10.0, 100.0, 1e30)
_log = logging.getLogger(__name__)
_log.disabled = True


# --- the frontend ---------------------------------------------------------------------------------


class _Route:
    """Counts what it is shown, and has it."""

    def __init__(self) -> None:
        self.shown = 0

    def show(self, volumes: Sequence[float] | None, mute: bool | None) -> None:
        self.shown += 1
        assert volumes is not None or mute is not None, "nothing is shown"
        for value in volumes or ():
            assert 0 <= value <= 10, f"the route shows {value}"


def _event(source: Source) -> bytes:
    length = source.pick(LENGTHS)
    if source.below(4) == 0:
        return source.raw(64).ljust(65, b"\0")[:length]
    some = [source.pick((*EDGES, source.number(4) - (1 << 31))) for _ in range(2)]
    event = volume_ext.VolumeEvent(
        source.below(4), bool(source.below(2)), (*some,) * 6, (bool(source.below(2)), False) * 6
    )
    data = bytearray(event.pack())
    place = volume_ext._PLACE + volume_ext._EXT._codecs["channels"][0]
    data[place] = source.pick((1, 2, 2, 12, 13, 255, source.number()))
    return bytes(data).ljust(65, b"\0")[:length]


def _unpacked(data: bytes) -> volume_ext.VolumeEvent | None:
    try:
        event = volume_ext.unpack_volume_event(data)
    except PeerProtocolError as error:
        assert str(error).isprintable()
        return None
    assert len(event.steps) == len(event.muted) <= volume_ext.MAX_CHANNELS, "half of an event"
    assert volume_ext.unpack_volume_event(event.pack()) == event, "written out it is another one"
    return event


async def _frontend(source: Source) -> int:
    now, route, told, wishes = clock(), _Route(), 0, 0
    stream = front.StreamVolume("stream", route.show, lambda: None, _log)
    began_sec = now.now_sec
    while source.left:
        told += 1
        choice = source.below(8)
        if choice == 0:
            await now.go_on(source.below(100) / 1000)
        elif choice == 1:  # what the backend took, or refused
            stream._asks_volume, stream._asks_mute = bool(source.below(2)), bool(source.below(2))
        elif choice == 2:
            wishes += 1  # each may be corrected at once
            stream.want([source.pick(LINEAR[:6])] * (1 + source.below(4)), bool(source.below(2)))
        elif (event := _unpacked(_event(source))) is not None:
            stream.told(event)
        for channels in (1, 2, 12):
            left = stream.soft(channels).volumes
            assert len(left) == channels and all(math.isfinite(v) and v >= 0 for v in left), left
            assert all(-(1 << 31) <= steps < 1 << 31 for steps in stream._steps(channels))
    often = 2 + (now.now_sec - began_sec) / front.VOLUME_SEC
    assert route.shown <= often + wishes, f"{route.shown} times"
    stream.close()
    return told


# --- the backend ----------------------------------------------------------------------------------


def _backend(source: Source) -> int:
    channels = 1 + source.below(12)
    ordered = bool(source.below(2))
    mixer, done = Mixer(channels, silenced=ordered), 0
    while source.left:
        done += 1
        choice = source.below(4)
        if choice == 0:
            packed = source.raw(4 * channels).ljust(4 * channels, b"\x7f")
            mixer.set_steps(struct.unpack(f"={channels}i", packed))
        elif choice == 1:
            chosen = [bool(source.below(2)) for _ in range(channels)]
            mixer.set_muted(chosen, bool(source.below(2)))
        elif choice == 2:
            given, mute = mixer.taken()
            if source.below(2):
                mixer.host_changed(given, mute)
        else:
            linear = [source.pick(LINEAR) for _ in range(channels)]
            mixer.host_changed(linear, bool(source.below(2)))
        amplitudes = mixer.amplitudes()
        assert len(amplitudes) == len(mixer.steps) == len(mixer.muted) == channels
        assert all(0 <= value <= 10 for value in amplitudes), amplitudes
        assert all(-(1 << 31) <= steps < 1 << 31 for steps in mixer.steps), mixer.steps
        assert mixer.all_muted or not mixer.silenced, "the host's order is lifted"
        assert mixer.silenced == ordered
    return done


def run(data: bytes) -> int:
    """How many things happened."""
    source = Source(data)
    if source.below(4) == 0:
        return _backend(source)
    return clock().run_until_complete(_frontend(source))
