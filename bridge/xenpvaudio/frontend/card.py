"""A vsnd card as one PipeWire device, to which its streams' nodes belong.

Session managers and mixers see hardware: a profile says which directions are in use, and so which
nodes exist; a route for each stream has its volume, mute and latency offset. PipeWire may have no
room for such a device (a configuration without its module); then the nodes are there without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from xenpvaudio.engine.engine import NODE_RETRY_SEC, Engine, log_failure
from xenpvaudio.errors import UnavailableError
from xenpvaudio.logs.peer_log import PeerLog
from xenpvaudio.logs.quoting import property_text
from xenpvaudio.sndif.card import Card, StreamConfig
from xenpvaudio.sndif.codes import Direction
from xenpvaudio_native.card import Available, CardState, GuestCard, Profile, Route
from xenpvaudio_native.pipewire import PwEvent

from .volume import for_channels

TITLE = "Xen PV Audio"
API = {"device.api": "xenpv", "device.bus": "xen"}


class Member(Protocol):
    """A stream of the card."""

    def card_changed(self) -> None:
        """Look anew at shows(), properties() and route()."""


def pcm_name(card: Card, device_index: int) -> str:
    """Tells a card's PCM devices apart; empty where there is one."""
    if len(card.devices) == 1:
        return ""
    return card.devices[device_index].name or f"PCM {device_index}"


def title(card: Card, device_index: int) -> str:
    """Of a node, for people."""
    name = pcm_name(card, device_index)
    return f"{TITLE}: {name}" if name else TITLE


def _route(card: Card, config: StreamConfig, channels: int) -> Route:
    capture = config.direction is Direction.CAPTURE
    alike = [stream for stream in card.streams if stream.direction is config.direction]
    beside = [stream for stream in alike if stream.device_index == config.device_index]
    name = "microphone" if capture else "speaker"
    words = [name.capitalize()]
    if len(beside) > 1:
        words.append(str(beside.index(config) + 1))
    if pcm := pcm_name(card, config.device_index):
        words.append(f"({property_text(pcm)})")
    if len(alike) > 1:
        name += f"-{config.device_index}.{config.index}"
    available = Available.UNKNOWN if capture else Available.YES
    allowed = config.channels
    channels = min(max(channels, allowed.min), allowed.max)
    return Route(capture, name, " ".join(words), (1.0,) * channels, available=available)


class SoundCard:
    """`devid`: tells the guest's cards apart; `channels`: what most streams will have, as far as
    each can."""

    def __init__(
        self,
        engine: Engine,
        card: Card,
        devid: str,
        *,
        channels: int,
        log: logging.Logger | PeerLog,
    ) -> None:
        self._engine = engine
        self._log = log
        self._id = engine.new_id()
        self._streams = list(card.streams)
        self._routes = [_route(card, config, channels) for config in self._streams]
        self._profile = Profile.OFF
        for route in self._routes:
            self._profile |= route.profile
        properties = {
            "device.name": f"xenpv_card.{devid}",
            "device.description": TITLE,
            "device.nick": card.short_name or TITLE,
            "device.product.name": card.long_name or card.short_name or TITLE,
            "device.class": "sound",
            "device.form-factor": "internal",
            "device.icon-name": "audio-card",
            "media.class": "Audio/Device",
            "object.path": f"xenpv:{devid}",
            **API,
        }
        self._properties = {key: property_text(value) for key, value in properties.items()}
        self._members: list[Member] = []
        self._card: GuestCard | None = None
        self._state = CardState(None, False, self._profile)
        self._retry: asyncio.TimerHandle | None = None
        engine.on_event(self._id, self._event, log_failure, self._properties["device.name"])

    def join(self, member: Member) -> None:
        self._members.append(member)

    # -- what a stream asks

    def shows(self, config: StreamConfig, channels: int) -> bool:
        """Whether the stream's node is to exist now; its volume has so many channels. If the card
        is not there yet it is made, and the members are told when it is."""
        index = self._streams.index(config)
        self._set_channels(index, channels)
        if self._card is None and self._retry is None and not self._state.lost:
            self._make()
        return self.has(config)

    def has(self, config: StreamConfig) -> bool:
        """Whether the stream's node may exist: the card is there, and its profile says so."""
        there = self._state.global_id is not None or self._refused
        return there and bool(self.route(config).profile & self._profile)

    def route(self, config: StreamConfig) -> Route:
        return self._routes[self._streams.index(config)]

    def off(self, config: StreamConfig) -> bool:
        """Whether the profile has left the stream out."""
        return not self.route(config).profile & self._profile

    def set_available(self, config: StreamConfig, available: Available) -> None:
        """Clients are told at once, while they record, too."""
        index = self._streams.index(config)
        self._routes[index] = replace(self._routes[index], available=available)
        if self._card is not None:
            self._card.set_available(index, available)

    def properties(self, config: StreamConfig) -> dict[str, str]:
        """Of the stream's node."""
        route = self.route(config)
        icon = "audio-input-microphone" if route.capture else "audio-speakers"
        properties = {**API, "device.icon-name": icon}
        if self._state.global_id is None:
            return properties
        return properties | {
            "device.id": str(self._state.global_id),
            "device.class": "sound",
            "device.routes": "1",
            "card.profile.device": str(self._streams.index(config)),
        }

    def set_volume(
        self, config: StreamConfig, volumes: Sequence[float] | None, mute: bool | None
    ) -> None:
        """The host did: linear volumes and mute, each if it is not None. The members are told, as
        when a client does it."""
        index = self._streams.index(config)
        if self._card is not None:
            count = len(self._routes[index].volumes)
            told = None if volumes is None else for_channels(volumes, count)
            self._card.set_volumes(index, told, mute)
            return
        route = self._routes[index]
        if volumes is not None:
            route = replace(route, volumes=(*for_channels(volumes, len(route.volumes)),))
        if mute is not None:
            route = replace(route, mute=mute)
        if route != self._routes[index]:
            self._routes[index] = route
            for member in self._members:
                member.card_changed()

    # -- its life

    @property
    def _refused(self) -> bool:
        return self._state.lost and self._state.global_id is None

    def _set_channels(self, index: int, channels: int) -> None:
        route = self._routes[index]
        if len(route.volumes) == channels:
            return
        if self._card is not None:
            self._card.set_channels(index, channels)
            self._routes[index] = self._card.route(index)
        else:
            self._routes[index] = _with_channels(route, channels)

    def _make(self) -> None:
        if self._engine.pipewire is None:
            return
        try:
            self._card = GuestCard(
                self._engine.pipewire, self._id, self._properties, self._routes, self._profile
            )
        except UnavailableError as error:
            self._refuse(str(error))

    def _refuse(self, why: str) -> None:
        self._state = CardState(None, True, self._profile)
        self._log.warning("%s: sink and source are there without a card", why)

    def _free(self) -> None:
        if self._card is not None:
            self._card.free()
            self._card = None
        self._state = CardState(None, False, self._profile)

    def pipewire_changed(self, up: bool) -> None:
        """After the streams: nodes of the old connection are gone with it."""
        if not up:
            self._end_retry()
            self._free()

    def close(self) -> None:
        """After the streams."""
        self._end_retry()
        self._free()
        self._engine.forget(self._id)

    def _end_retry(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    # -- what clients do

    def _event(self, _event: PwEvent) -> None:
        if self._card is None:
            return
        before = self._state
        self._state = self._card.state()
        self._profile = self._state.profile
        self._routes = [self._card.route(index) for index in range(len(self._routes))]
        if self._state.lost and not before.lost:
            self._lost()
        for member in self._members:
            member.card_changed()

    def _lost(self) -> None:
        """Its nodes must go too, for they have its number: the members see to that."""
        if self._refused:
            self._refuse("PipeWire refused the card")
            return
        self._log.warning("somebody destroyed the card in PipeWire: making a new one")
        self._free()
        loop = asyncio.get_running_loop()
        self._retry = loop.call_later(NODE_RETRY_SEC, self._make_again)

    def _make_again(self) -> None:
        self._retry = None
        for member in self._members:
            member.card_changed()


def _with_channels(route: Route, channels: int) -> Route:
    volumes = (route.volumes[i % len(route.volumes)] for i in range(channels))
    return replace(route, volumes=(*volumes,))
