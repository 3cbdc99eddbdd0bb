"""Who makes the card's volume, and how both sides come to agree on it: frontend and backend in one
process, without PipeWire; a test plays the guest's mixer and the host's."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pair import Pair, run
from waiting import wait_for
from xenpvaudio.backend.stream import BackendStream
from xenpvaudio.config import DomainPolicy, OutputSpec
from xenpvaudio.frontend import device, link
from xenpvaudio.frontend.node import FrontendStream
from xenpvaudio.frontend.volume import Loudness
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.codes import Operation, PcmFormat
from xenpvaudio.sndif.volume import to_steps
from xenpvaudio_native.card import Route
from xenpvaudio_native.pipewire import PwEvent, PwEventKind

LOOPBACK = DomainPolicy(output=OutputSpec("loopback"))
UNITY = Loudness((1.0, 1.0), False)
CHANNEL_OPERATIONS = (Operation.SET_VOLUME, Operation.MUTE, Operation.UNMUTE)


class Card:
    """The playback stream of the pair's guest: what the route shows, and both ends of it."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.front: FrontendStream = pair.front.streams()[0]

    @property
    def back(self) -> BackendStream:
        return self.pair.back.streams["0/0"]

    @property
    def route(self) -> Route:
        return self.front.card.route(self.front.config)

    def set(self, *volumes: float, mute: bool | None = None) -> None:
        """As somebody in the guest does it."""
        self.front.card.set_volume(self.front.config, volumes or None, mute)

    def format(self, number: int) -> None:
        args = (number, 48000, 2)
        self.front._event(PwEvent(PwEventKind.FORMAT, self.front.id, args, ""))

    async def open(self) -> None:
        self.format(PcmFormat.S16_LE)
        await wait_for(lambda: self.front.opened is not None)

    async def close(self) -> None:
        self.front._want(None)
        await wait_for(lambda: self.back.opened is None)

    async def host_has(self, *volumes: float, mute: bool = False) -> None:
        """Until the backend has them."""
        steps = [to_steps(volume) for volume in volumes]
        await wait_for(
            lambda: self.back.mixer.steps == steps and all(self.back.mixer.muted) == mute
        )

    async def shows(self, *volumes: float, mute: bool = False) -> None:
        """Until the guest's mixers show them."""
        await wait_for(
            lambda: (
                self.route.volumes == pytest.approx(volumes, rel=1e-4) and self.route.mute == mute
            )
        )

    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Operation]:
        """What the backend is asked for from now on, of volumes and mutes."""
        found: list[Operation] = []
        serve = self.back._serve

        def record(packet: bytes) -> None:
            request = packets.unpack_request(packet)
            if isinstance(request, packets.TransferRequest):
                found.append(request.operation)
            serve(packet)

        monkeypatch.setattr(self.back, "_serve", record)
        return found


def card(
    tmp_path: Path, body: Callable[[Card], Awaitable[None]], policy: DomainPolicy | None = None
) -> None:
    async def with_pair(pair: Pair) -> None:
        await body(Card(pair))

    run(tmp_path, with_pair, policy=policy)


# -- from the guest to the host


def test_a_stream_opens_as_loud_as_its_route_says_and_the_host_makes_it_so(tmp_path: Path) -> None:
    async def body(card: Card) -> None:
        card.set(0.5, 0.25, mute=True)
        await card.open()
        await card.host_has(0.5, 0.25, mute=True)
        assert card.front.volume.soft(2) == UNITY
        card.set(1.0, 2.0, mute=False)
        await card.host_has(1.0, 2.0)
        assert card.front.volume.soft(2) == UNITY
        await card.close()
        card.set(0.125, 0.125)
        await card.open()
        await card.host_has(0.125, 0.125)

    card(tmp_path, body)


def test_a_dragged_slider_asks_20_times_a_second_and_ends_at_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(card: Card) -> None:
        await card.open()
        asked = card.asked(monkeypatch)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for step in range(200):
            card.set(1 - step / 256, 1 - step / 256)
            await asyncio.sleep(0.002)
        await card.host_has(1 - 199 / 256, 1 - 199 / 256)
        assert 1 < len(asked) <= 2 + (loop.time() - began) / 0.05

    card(tmp_path, body)


def test_other_channels_than_the_routes_get_the_mean(tmp_path: Path) -> None:
    async def body(card: Card) -> None:
        card.set(0.5, 0.25)
        args = (PcmFormat.S16_LE, 48000, 1)
        card.front._event(PwEvent(PwEventKind.FORMAT, card.front.id, args, ""))
        await wait_for(lambda: card.front.opened is not None)
        await card.host_has(0.375)

    card(tmp_path, body)


def test_what_the_backend_refuses_pipewire_does_in_the_guest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A loopback mixes nothing."""
    caplog.set_level(logging.INFO)

    async def body(card: Card) -> None:
        card.set(0.5, 0.25, mute=True)
        for _ in range(2):
            await card.open()
            assert not card.front.volume.by_host
            assert card.front.volume.soft(2) == Loudness((0.5, 0.25), True)
            await card.close()
        lines = [line for line in caplog.messages if "it is done here" in line]
        assert len(lines) == 2 and "SET_VOLUME with -XEN_EOPNOTSUPP" in lines[0]

    card(tmp_path, body, LOOPBACK)


def test_a_backend_that_refuses_later_keeps_what_it_took_and_pipewire_makes_the_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(card: Card) -> None:
        card.set(0.5, 0.25)
        await card.open()
        monkeypatch.setattr(card.back._mixing, "_mixes", lambda: False)
        card.set(0.25, 0.25, mute=True)
        await wait_for(lambda: not card.front.volume.by_host)
        assert card.front.volume.soft(2).volumes == pytest.approx((0.5, 1.0), rel=1e-4)
        await wait_for(lambda: card.front.volume.soft(2).mute)
        await card.host_has(0.5, 0.25)

    card(tmp_path, body)


def test_a_backend_that_leaves_it_unanswered_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serve, asked = BackendStream._serve, []

    def deaf(stream: BackendStream, packet: bytes) -> None:
        request = packets.unpack_request(packet)
        if request.operation in CHANNEL_OPERATIONS:
            asked.append(request.operation)
        else:
            serve(stream, packet)

    monkeypatch.setattr(BackendStream, "_serve", deaf)
    monkeypatch.setattr(link, "DEADLINE_SEC", 0.5)

    async def body(card: Card) -> None:
        card.set(0.5, 0.25)
        await card.open()  # anew, after a connection that ended
        assert card.front.volume.soft(2) == Loudness((0.5, 0.25), False)
        assert asked == [Operation.SET_VOLUME]
        assert len([line for line in caplog.messages if "did not answer SET_VOLUME" in line]) == 1

    card(tmp_path, body)


# -- from the host to the guest


def test_what_the_host_changes_the_guest_shows_and_asks_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(card: Card) -> None:
        await card.open()
        asked = card.asked(monkeypatch)
        mixing = card.back._mixing
        mixing.host_changed([0.5, 0.25], False, False)
        await card.shows(0.5, 0.25)
        mixing.host_changed([0.5, 0.25], True, False)
        await card.shows(0.5, 0.25, mute=True)
        mixing.host_changed([0.5, 0.25], False, False)
        await card.shows(0.5, 0.25)
        await asyncio.sleep(0.2)
        assert asked == []
        assert card.front.volume.soft(2) == UNITY

    card(tmp_path, body)


def test_a_mute_of_the_hosts_is_lifted_by_the_guest_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    async def body(card: Card) -> None:
        await card.open()
        card.back._mixing.host_changed([1.0, 1.0], True, False)
        await card.shows(1.0, 1.0, mute=True)
        card.set(mute=False)
        await card.host_has(1.0, 1.0, mute=False)
        card.set(mute=True)
        await card.host_has(1.0, 1.0, mute=True)
        card.back.mixer.taken()
        card.back._mixing.host_changed([1.0, 1.0], False, False)
        await card.shows(1.0, 1.0, mute=False)

    card(tmp_path, body)


def test_an_order_to_be_silent_is_shown_and_cannot_be_lifted_in_the_guest(tmp_path: Path) -> None:
    async def body(card: Card) -> None:
        await card.open()
        card.back._mixing.silence(True)
        await card.shows(1.0, 1.0, mute=True)
        card.set(mute=False)
        await card.shows(1.0, 1.0, mute=True)
        await card.close()
        await card.open()
        await asyncio.sleep(0.2)
        assert card.route.mute
        assert card.back.mixer.muted == [False, False]  # the guest's own wish
        card.back._mixing.silence(False)
        await card.shows(1.0, 1.0, mute=False)

    card(tmp_path, body)


def test_an_order_ends_with_its_backend(tmp_path: Path) -> None:
    async def body(card: Card) -> None:
        await card.open()
        card.back._mixing.silence(True)
        await card.shows(1.0, 1.0, mute=True)
        await card.pair.backend.stop()
        await card.shows(1.0, 1.0, mute=False)

    card(tmp_path, body)


def test_a_guest_without_the_extension_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "FEATURE_VOLUME_EXT", "feature-of-tomorrow")

    async def body(card: Card) -> None:
        nodes = card.pair.back.store
        assert nodes.read("/local/domain/0/backend/vsnd/1/0/feature-volume-ext") == "1"
        assert nodes.get("/local/domain/1/device/vsnd/0/feature-volume-ext") is None
        await card.open()
        events = card.back.back.stats.events
        card.back._mixing.host_changed([0.5, 0.5], False, False)
        card.set(1.0, 0.25)
        await card.host_has(1.0, 0.25)
        assert card.route.volumes == (1.0, 0.25)
        assert card.back.back.stats.events == events

    card(tmp_path, body)


def test_what_a_session_manager_remembers_does_not_count_against_a_guest_that_sets_volumes(
    tmp_path: Path,
) -> None:
    async def body(card: Card) -> None:
        card.set(0.5, 0.5)
        await card.open()
        await card.host_has(0.5, 0.5)
        card.back.mixer.taken()
        card.back._mixing.host_changed([0.25, 0.25], True, True)  # the stream is just made
        assert card.back.mixer.steps == [to_steps(0.5)] * 2
        await asyncio.sleep(0.2)
        assert card.route.volumes == (0.5, 0.5) and not card.route.mute

    card(tmp_path, body)


def test_a_kernel_guest_that_sets_nothing_has_what_the_session_manager_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "FEATURE_VOLUME_EXT", "feature-of-tomorrow")

    async def body(card: Card) -> None:
        mixing = card.back._mixing
        mixing.begin(2)
        mixing.host_changed([0.25, 0.5], False, True)
        assert mixing.mixer.steps == [to_steps(0.25), to_steps(0.5)]

    card(tmp_path, body)


@pytest.mark.parametrize("seed", range(4))
def test_whoever_moves_which_slider_when_both_end_at_the_same(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)

    async def body(card: Card) -> None:
        await card.open()
        for _ in range(60):
            volume = chance.choice((0.125, 0.25, 0.5, 1.0))
            if chance.random() < 0.5:
                card.set(volume, volume, mute=chance.random() < 0.3)
            else:
                card.back.mixer.taken()  # the host's node has what it was given
                mute = chance.random() < 0.3
                card.back._mixing.host_changed([volume, volume], mute, False)
            if chance.random() < 0.7:
                await asyncio.sleep(chance.choice((0, 0.001, 0.02, 0.08)))
        volume = card.front.volume

        def agreed() -> bool:
            mixer, route = card.back.mixer, card.route
            return (
                [to_steps(value) for value in route.volumes] == mixer.steps
                and route.mute == all(mixer.muted)
                and volume._ask_timer is volume._tell_timer is None
            )

        await wait_for(agreed)
        await asyncio.sleep(0.3)
        assert agreed()

    card(tmp_path, body)
