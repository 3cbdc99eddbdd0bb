"""What a node's suspension does to its sndif stream: told by the requests that reach the backend.

The graph's part is played by the events that it would send; both halves run on the simulated
hypervisor, without PipeWire. What must not happen within the time is tried with a time that never
passes, so that no busy machine makes it pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pair import Pair, run
from waiting import wait_for
from xenpvaudio.frontend import node
from xenpvaudio.frontend.node import FrontendStream
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.config_space import Space
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xenbus.states import XenbusState
from xenpvaudio_native.pipewire import PwEvent, PwEventKind

NODES = card_nodes(rates=(48000, 44100), formats=("s16_le", "s32_le", "float_le"))
USUAL = (PcmFormat.S16_LE, 48000, 2)
NEVER_SEC = 3600.0
OPEN, CLOSE = "OpenRequest", "CloseRequest"

Format = tuple[PcmFormat, int, int]


class Guest:
    """The playback stream of the pair's guest, its format set, and what its backend is asked for
    from then on: OPEN and CLOSE."""

    def __init__(self, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pair = pair
        self.stream: FrontendStream = pair.front.streams()[0]
        self.asked: list[str] = []
        back = pair.back.streams["0/0"]
        serve = back._serve

        def record(packet: bytes) -> None:
            name = type(packets.unpack_request(packet)).__name__
            if name in (OPEN, CLOSE):
                self.asked.append(name)
            serve(packet)

        monkeypatch.setattr(back, "_serve", record)

    def _event(self, number: int, rate: int, channels: int) -> None:
        args = (number, rate, channels)
        self.stream._event(PwEvent(PwEventKind.FORMAT, self.stream.id, args, ""))

    def set_format(self, wanted: Format = USUAL) -> None:
        self._event(*wanted)

    def suspend(self) -> None:
        self._event(-1, 0, 0)

    async def open(self) -> None:
        self.set_format()
        await wait_for(lambda: self.stream.opened is not None)
        self.asked.clear()

    async def done(self) -> list[str]:
        """What was asked for when all that happened until now has been dealt with."""
        await wait_for(lambda: not self.stream._wake.is_set())
        everything = self.stream.space
        assert isinstance(everything, Space)
        # behind whatever the worker has begun: requests go one by one, and each is answered
        for _ in range(3):
            await self.pair.link.ask(packets.QueryRequest(0, everything))
        return self.asked


def live(stream: FrontendStream) -> dict[str, str]:
    """What its node says."""
    return stream._live(None if stream.link is None else stream.link.front.stats)


def guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Callable[[Guest], Awaitable[None]]
) -> None:
    async def with_pair(pair: Pair) -> None:
        it = Guest(pair, monkeypatch)
        await it.open()
        await body(it)

    run(tmp_path, with_pair, NODES)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "SUSPENDED_SEC", NEVER_SEC)


@pytest.mark.usefixtures("endless")
def test_the_same_format_finds_its_stream_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(guest: Guest) -> None:
        buffer = guest.pair.link._buffer
        for _ in range(3):
            guest.suspend()
            assert await guest.done() == []
            guest.set_format()
            assert await guest.done() == []
        assert guest.pair.link._buffer is buffer
        assert guest.stream.opened is not None
        assert guest.pair.back.streams["0/0"].opened is not None

    guest(tmp_path, monkeypatch, body)


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize(
    "other",
    [(PcmFormat.S32_LE, 48000, 2), (PcmFormat.S16_LE, 44100, 2), (PcmFormat.S16_LE, 48000, 1)],
    ids=["format", "rate", "channels"],
)
def test_another_format_opens_the_stream_anew(
    other: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(guest: Guest) -> None:
        guest.suspend()
        await guest.done()
        guest.set_format(other)
        await wait_for(lambda: OPEN in guest.asked)
        assert await guest.done() == [CLOSE, OPEN]
        opened = guest.pair.back.streams["0/0"].opened
        assert opened is not None
        assert (opened.format, opened.rate, opened.channels) == other

    guest(tmp_path, monkeypatch, body)


def test_a_stream_that_stays_suspended_is_closed_when_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(guest: Guest) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        guest.suspend()
        guest.suspend()  # told twice: no more time for that
        assert guest.stream._suspension is not None
        assert guest.stream._suspension.when() <= loop.time() + node.SUSPENDED_SEC
        await wait_for(lambda: CLOSE in guest.asked)
        assert loop.time() - began >= node.SUSPENDED_SEC
        assert await guest.done() == [CLOSE]
        guest.set_format()
        await wait_for(lambda: guest.stream.opened is not None)
        assert await guest.done() == [CLOSE, OPEN]

    guest(tmp_path, monkeypatch, body)


def test_a_suspension_that_is_over_does_not_shorten_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "SUSPENDED_SEC", 0.2)

    async def body(guest: Guest) -> None:
        guest.suspend()
        guest.set_format()
        await asyncio.sleep(0.5)
        assert await guest.done() == []
        monkeypatch.setattr(node, "SUSPENDED_SEC", NEVER_SEC)
        guest.suspend()
        await asyncio.sleep(0.5)
        assert await guest.done() == []

    guest(tmp_path, monkeypatch, body)


@pytest.mark.usefixtures("endless")
def test_without_a_daemon_nobody_comes_back_and_the_stream_is_closed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(guest: Guest) -> None:
        guest.suspend()
        await guest.done()
        guest.stream.pipewire_changed(False)
        await wait_for(lambda: CLOSE in guest.asked)
        assert guest.stream.opened is None

    guest(tmp_path, monkeypatch, body)


@pytest.mark.usefixtures("endless")
def test_a_backend_that_goes_away_meanwhile_takes_the_stream_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(guest: Guest) -> None:
        guest.suspend()
        await guest.done()
        await guest.pair.backend.stop()
        await wait_for(lambda: guest.pair.front.state is XenbusState.INITIALISING)
        assert guest.stream.opened is None
        assert guest.stream._suspension is None

    guest(tmp_path, monkeypatch, body)


@pytest.mark.usefixtures("endless")
def test_a_card_that_is_unplugged_meanwhile_leaves_nothing_granted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(guest: Guest) -> None:
        guest.suspend()
        await guest.done()
        await guest.pair.front.stop()  # run() looks for what is left
        assert guest.stream._suspension is None

    guest(tmp_path, monkeypatch, body)


@pytest.mark.usefixtures("endless")
def test_what_is_open_but_suspended_is_called_suspended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(guest: Guest) -> None:
        assert live(guest.stream)["xenpv.state"] == "idle"
        guest.suspend()
        await guest.done()
        assert live(guest.stream) == {"xenpv.state": "suspended"}
        guest.set_format()
        assert live(guest.stream)["xenpv.state"] == "idle"

    guest(tmp_path, monkeypatch, body)
