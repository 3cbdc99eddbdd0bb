"""A card's volumes and mutes as ALSA controls: what a program reads and sets, and who is told when
one changes. They are the card's own, so the host, another program and an order of the host's are
all heard of the same way."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from xenpvaudio.frontend.card import TITLE
from xenpvaudio.frontend.device import FrontendDevice
from xenpvaudio.frontend.node import FrontendStream
from xenpvaudio.logs.quoting import printable
from xenpvaudio.sndif.codes import Direction
from xenpvaudio.sndif.volume import to_linear, to_steps
from xenpvaudio_native.guest_pcm.controls import (
    LOUDEST,
    MOST_CHANNELS,
    MOST_STREAMS,
    MUTE,
    STEP_CDB,
    VOLUME,
    ControlQuestion,
    StreamControls,
    pack_control_answer,
    pack_control_event,
)

from .refused import RefusedError

# What a program that does not read may hold of us: some events, and the rest are one each.
WATCH_BYTES = 4096
_SNDIF_STEPS = 10 * STEP_CDB
"""sndif's, of 0.001 dB, in one of ours."""


def steps_of(linear: float) -> int:
    """Of an amplitude; 0 is silence, LOUDEST is 0 dB and all that is louder."""
    return min(max(round(to_steps(linear) / _SNDIF_STEPS) + LOUDEST, 0), LOUDEST)


def linear_of(steps: int) -> float:
    """The amplitude of so many steps, from 0 to LOUDEST."""
    return to_linear((steps - LOUDEST) * _SNDIF_STEPS) if steps > 0 else 0.0


def _streams(device: FrontendDevice) -> list[FrontendStream]:
    return device.streams()[:MOST_STREAMS]


def _controls(stream: FrontendStream) -> StreamControls:
    route = stream.card.route(stream.config)
    volumes = tuple(steps_of(linear) for linear in route.volumes[:MOST_CHANNELS])
    return StreamControls(stream.config.direction is Direction.CAPTURE, volumes, route.mute)


def read_controls(device: FrontendDevice) -> bytes:
    """The answer: all of them, by the streams' places."""
    streams = [_controls(stream) for stream in _streams(device)]
    return pack_control_answer(0, TITLE, printable(device.name) or TITLE, streams)


def write_control(device: FrontendDevice, question: ControlQuestion) -> bool:
    """Whether it has another value now: an order of the host's may keep it as it was. A volume that
    reads the same stays what it is. RefusedError: no such control, or it has no such value."""
    streams = _streams(device)
    if question.stream >= len(streams) or question.kind not in (VOLUME, MUTE):
        raise RefusedError(errno.EINVAL)
    stream = streams[question.stream]
    route, before = stream.card.route(stream.config), _controls(stream)
    if question.kind == MUTE:
        stream.card.set_volume(stream.config, None, question.values[0] != 0)
        return _controls(stream) != before
    wanted = question.values[: len(route.volumes)]
    if not all(0 <= steps <= LOUDEST for steps in wanted):
        raise RefusedError(errno.EINVAL)
    volumes = list(route.volumes)
    for channel, steps in enumerate(wanted):
        if steps_of(volumes[channel]) != steps:
            volumes[channel] = linear_of(steps)
    stream.card.set_volume(stream.config, volumes, None)
    return _controls(stream) != before


class Watcher:
    """A program that is told of each control that changes, once until it has read so.

    `find`: its card, or None when that is gone, and then `end` is called: as a card that is
    unplugged. On the event loop's thread, until close().
    """

    def __init__(
        self,
        connection: socket.socket,
        find: Callable[[], FrontendDevice | None],
        end: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._find = find
        self._end = end
        self._told = self._values()
        self._due: dict[tuple[int, int], None] = {}
        self._waits = False
        self._loop = asyncio.get_running_loop()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WATCH_BYTES)

    def _values(self) -> list[StreamControls] | None:
        device = self._find()
        return None if device is None else [_controls(stream) for stream in _streams(device)]

    def look(self) -> None:
        """Something may have changed."""
        values, before = self._values(), self._told
        if values is None or before is None or len(values) != len(before):
            self._end()
            return
        self._told = values
        for place, (now, then) in enumerate(zip(values, before, strict=True)):
            if now.volumes != then.volumes:
                self._due[place, VOLUME] = None
            if now.muted != then.muted:
                self._due[place, MUTE] = None
        self._tell()

    def unmoved(self, stream: int, kind: int) -> None:
        """A program has set it, and nothing came of that: it is told all the same."""
        self._due[stream, kind] = None
        self.look()

    def _tell(self) -> None:
        try:
            while self._due:
                stream, kind = next(iter(self._due))
                event = pack_control_event(stream, kind)
                self._connection.send(event, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                del self._due[stream, kind]
        except BlockingIOError:
            if not self._waits:
                self._waits = True
                self._loop.add_writer(self._connection, self._writable)
        except OSError:
            self._end()

    def _writable(self) -> None:
        self._stop_waiting()
        self._tell()

    def _stop_waiting(self) -> None:
        if self._waits:
            self._waits = False
            self._loop.remove_writer(self._connection)

    def close(self) -> None:
        """Before the connection is closed."""
        self._stop_waiting()
