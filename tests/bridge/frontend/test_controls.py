"""A card's volumes as ALSA controls: what is read and set, and what a program that watches is told,
by one card that is played and a socket's other end."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import struct
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from xenpvaudio.frontend.alsa.controls import (
    Watcher,
    linear_of,
    read_controls,
    steps_of,
    write_control,
)
from xenpvaudio.frontend.alsa.refused import RefusedError
from xenpvaudio.frontend.device import FrontendDevice
from xenpvaudio.sndif.codes import Direction
from xenpvaudio_native.card import Available, Route
from xenpvaudio_native.guest_pcm.controls import (
    LOUDEST,
    MUTE,
    VOLUME,
    ControlQuestion,
    unpack_control_question,
)


class Card:
    """A stream's; `held`: by the host's order nothing is unmuted."""

    def __init__(self, capture: bool) -> None:
        self._route = Route(capture, "a", "A", (1.0, 1.0), available=Available.YES)
        self.held = False

    def route(self, _config: object) -> Route:
        return self._route

    def set_volume(
        self, _config: object, volumes: Sequence[float] | None, mute: bool | None
    ) -> None:
        if volumes is not None:
            self._route = replace(self._route, volumes=tuple(volumes))
        if mute is not None:
            self._route = replace(self._route, mute=mute or self.held)


class Device:
    name = "Desktop"

    def __init__(self) -> None:
        self.cards = [Card(False), Card(True)]
        directions = (Direction.PLAYBACK, Direction.CAPTURE)
        self._streams = [
            SimpleNamespace(card=card, config=SimpleNamespace(direction=direction))
            for card, direction in zip(self.cards, directions, strict=True)
        ]

    def streams(self) -> list[Any]:
        return self._streams

    @property
    def real(self) -> FrontendDevice:
        return cast(FrontendDevice, self)


def write(device: Device, stream: int, kind: int, *values: int) -> bool:
    return write_control(device.real, ControlQuestion(18, 0, stream, kind, values))


def test_a_volume_reads_as_it_was_set() -> None:
    assert [steps_of(linear_of(steps)) for steps in range(LOUDEST + 1)] == [*range(LOUDEST + 1)]
    assert (linear_of(0), linear_of(LOUDEST)) == (0.0, 1.0)
    assert math.isclose(linear_of(LOUDEST - 60), 10 ** (-6 / 20))
    assert (steps_of(2.0), steps_of(1e-9)) == (LOUDEST, 0)


def test_what_reads_the_same_is_not_touched() -> None:
    device = Device()
    device.cards[0].set_volume(None, (1.41, 0.50001), None)
    assert write(device, 0, VOLUME, LOUDEST, 300)
    assert device.cards[0].route(None).volumes[0] == 1.41
    assert not write(device, 0, VOLUME, LOUDEST, 300)


@pytest.mark.parametrize(
    ("stream", "kind", "values"),
    [(2, VOLUME, (0, 0)), (0, 2, (0, 0)), (0, VOLUME, (-1, 0)), (0, VOLUME, (0, LOUDEST + 1))],
)
def test_what_is_not_there_is_refused(stream: int, kind: int, values: tuple[int, ...]) -> None:
    device = Device()
    with pytest.raises(RefusedError) as refused:
        write(device, stream, kind, *values)
    assert refused.value.code == errno.EINVAL
    assert read_controls(device.real) == read_controls(Device().real)


def test_a_question_of_another_size_is_none() -> None:
    assert unpack_control_question(b"x") is None


class Watch:
    """A watcher of a device and the program's end of its connection."""

    def __init__(self) -> None:
        self.device: Device | None = Device()
        self.ended = False
        ours, self.program = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.program.setblocking(False)
        self._ours = ours
        self.watcher = Watcher(ours, lambda: self.device and self.device.real, self._end)

    def _end(self) -> None:
        self.ended = True

    @property
    def card(self) -> Card:
        assert self.device is not None
        return self.device.cards[0]

    def told(self) -> list[tuple[int, int]]:
        events = []
        while True:
            try:
                data = self.program.recv(100)
            except BlockingIOError:
                return events
            _version, stream, kind = struct.unpack("III", data)
            events.append((stream, kind))

    def close(self) -> None:
        self.watcher.close()
        self._ours.close()
        self.program.close()


def watch(body: Any) -> None:
    async def run() -> None:
        made = Watch()
        try:
            await body(made)
        finally:
            made.close()

    asyncio.run(run())


def test_each_change_is_told_once() -> None:
    async def body(w: Watch) -> None:
        w.watcher.look()
        assert w.told() == []
        w.card.set_volume(None, (0.5, 0.5), True)
        w.watcher.look()
        w.watcher.look()
        assert w.told() == [(0, VOLUME), (0, MUTE)]

    watch(body)


def test_what_the_host_does_not_let_happen_is_told_too() -> None:
    async def body(w: Watch) -> None:
        w.card.held = True
        w.card.set_volume(None, None, True)
        w.watcher.look()
        assert w.told() == [(0, MUTE)]
        assert w.device is not None
        assert not write(w.device, 0, MUTE, 0)
        w.watcher.unmoved(0, MUTE)
        assert w.told() == [(0, MUTE)]

    watch(body)


def test_a_program_that_reads_nothing_holds_a_few_events_and_then_the_newest() -> None:
    async def body(w: Watch) -> None:
        for i in range(10_000):
            w.card.set_volume(None, (i / 10_000, 1.0), None)
            w.watcher.look()
        events = w.told()
        assert 1 <= len(events) < 100
        await asyncio.sleep(0)  # there is room again
        await asyncio.sleep(0.01)
        assert w.told() == [(0, VOLUME)]
        assert not w.ended

    watch(body)


def test_a_card_that_is_gone_ends_the_watch() -> None:
    async def body(w: Watch) -> None:
        w.device = None
        w.watcher.look()
        assert w.ended

    watch(body)
