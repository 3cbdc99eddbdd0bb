"""GuestCard: a guest's sound card as PipeWire's Device object."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

from xenpvaudio.errors import UnavailableError

from . import ffi, lib
from .pipewire import CStrings, Pipewire

MAX_CHANNELS = 64


class Profile(IntFlag):
    """Which directions of a card are in use: abi/card.cdef.h, XPA_PROFILE_*."""

    OFF = lib.XPA_PROFILE_OFF
    OUTPUT = lib.XPA_PROFILE_OUTPUT
    INPUT = lib.XPA_PROFILE_INPUT


class Available(IntEnum):
    """Whether something can be heard by a route: abi/card.cdef.h, XPA_AVAILABLE_*."""

    UNKNOWN = lib.XPA_AVAILABLE_UNKNOWN
    NO = lib.XPA_AVAILABLE_NO
    YES = lib.XPA_AVAILABLE_YES


@dataclass(frozen=True, slots=True)
class Route:
    """A node's way to the ear. `volumes`: linear, one a channel, 1 to MAX_CHANNELS of them; `name`
    and `description`: 63 and 191 bytes at most, what is longer is cut."""

    capture: bool
    name: str
    description: str
    volumes: tuple[float, ...]
    mute: bool = False
    latency_offset_nsec: int = 0
    available: Available = Available.YES

    @property
    def profile(self) -> Profile:
        """The direction."""
        return Profile.INPUT if self.capture else Profile.OUTPUT


@dataclass(frozen=True, slots=True)
class CardState:
    """`global_id`: PipeWire's number of it, None until it answers. `lost`: it refused the card, or
    somebody destroyed it; this one stays so."""

    global_id: int | None
    lost: bool
    profile: Profile


def _cut(text: str, room_bytes: int) -> bytes:
    return text.encode()[: room_bytes - 1].decode(errors="ignore").encode()


class GuestCard:
    """PwEventKind.CARD comes with `card_id` when state() or route() is another than when state()
    was last read."""

    def __init__(
        self,
        pipewire: Pipewire,
        card_id: int,
        properties: Mapping[str, str],
        routes: Sequence[Route],
        profile: Profile,
    ) -> None:
        strings = CStrings(properties)
        c_routes = ffi.new("struct xpa_card_route[]", max(len(routes), 1))
        for c_route, route in zip(c_routes, routes, strict=False):
            _fill(c_route, route)
        self.handle = lib.xpa_card_new(
            pipewire.handle,
            card_id,
            strings.keys,
            strings.values,
            strings.count,
            c_routes,
            len(routes),
            profile,
        )
        if self.handle == ffi.NULL:
            raise UnavailableError(f"PipeWire refused a card ({os.strerror(ffi.errno)})")
        self._state = ffi.new("struct xpa_card_state *")
        self._route = ffi.new("struct xpa_card_route *")

    def state(self) -> CardState:
        lib.xpa_card_read(self.handle, self._state)
        s = self._state
        global_id = None if s.global_id < 0 else int(s.global_id)
        return CardState(global_id, bool(s.lost), Profile(s.profile))

    def route(self, index: int) -> Route:
        lib.xpa_card_read_route(self.handle, index, self._route)
        r = self._route
        name: bytes = ffi.string(r.name)
        description: bytes = ffi.string(r.description)
        return Route(
            bool(r.capture),
            name.decode(),
            description.decode(),
            tuple(r.volumes[i] for i in range(r.channels)),
            bool(r.mute),
            r.latency_offset_nsec,
            Available(r.available),
        )

    def set_channels(self, index: int, channels: int) -> None:
        """Of a route's volume; those that are new are as loud as the others."""
        lib.xpa_card_set_channels(self.handle, index, channels)

    def set_available(self, index: int, available: Available) -> None:
        """Of a route; clients are told at once."""
        lib.xpa_card_set_available(self.handle, index, available)

    def set_volumes(self, index: int, volumes: Sequence[float] | None, mute: bool | None) -> None:
        """Of a route, linear, and mute, each if it is not None: the host did it. As when a client
        does it, an event follows."""
        told = list(volumes or ())
        lib.xpa_card_set_volumes(self.handle, index, told, len(told), -1 if mute is None else mute)

    def free(self) -> None:
        """After the nodes that have its id."""
        if self.handle != ffi.NULL:
            lib.xpa_card_free(self.handle)
            self.handle = ffi.NULL


def _fill(c_route: Any, route: Route) -> None:
    c_route.capture = route.capture
    c_route.available = route.available
    c_route.name = _cut(route.name, len(c_route.name))
    c_route.description = _cut(route.description, len(c_route.description))
    c_route.channels = len(route.volumes)
    for i, volume in enumerate(route.volumes[:MAX_CHANNELS]):
        c_route.volumes[i] = volume
    c_route.mute = route.mute
    c_route.latency_offset_nsec = route.latency_offset_nsec
