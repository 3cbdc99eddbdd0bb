"""Whom an order of the host's user means, and what becomes of one that fails for a guest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from xenpvaudio.backend.host_user.answers import BackendAnswers
from xenpvaudio.backend.host_user.orders import Orders, key_of
from xenpvaudio.errors import ConfigError, UnavailableError

UUID = "6a9f0c1e-1111-4222-8333-444455556666"


class Device:
    """As much of a BackendDevice as an order needs."""

    def __init__(self, domid: int, name: str, uuid: str | None = None, fails: bool = False) -> None:
        self.key, self.has_uuid = key_of(domid, uuid), uuid is not None
        self.domain_name = name
        self.held = 0
        self.silenced: bool | None = None
        self._fails = fails

    def hold_to(self) -> None:
        self.held += 1
        if self._fails:
            raise UnavailableError("this backend runs without PipeWire")

    def silence(self, muted: bool) -> None:
        self.silenced = muted


def answers(devices: dict[int, Device], orders: Orders | None = None) -> BackendAnswers:
    backend: Any = SimpleNamespace(
        devices={(domid, "0"): device for domid, device in devices.items()}
    )
    return BackendAnswers(backend, orders or Orders(), domid=0, pipewire=False)


def test_a_number_is_not_the_name_of_another() -> None:
    devices = {5: Device(5, "work"), 6: Device(6, "5"), 7: Device(7, "play", UUID)}
    asked = answers(devices)
    assert asked.order({"guest": "5", "microphone": True}, 0) == {"guests": ["work"]}
    assert asked.order({"guest": UUID.upper(), "microphone": True}, 0) == {"guests": ["play"]}
    assert asked.order({"guest": "work", "muted": True}, 0) == {"guests": ["work"]}
    assert [device.silenced for device in devices.values()] == [True, None, None]
    assert [device.held for device in devices.values()] == [2, 0, 1]
    assert asked.order({"guest": "all", "muted": True}, 0) == {"guests": ["work", "5", "play"]}


def test_nobody_is_forgotten_because_of_another() -> None:
    devices = {5: Device(5, "work", fails=True), 6: Device(6, "play")}
    with pytest.raises(UnavailableError, match="without PipeWire"):
        answers(devices).order({"guest": "all", "microphone": False}, 0)
    assert devices[6].held == 1


def test_what_is_to_last_needs_a_uuid_and_nothing_is_done_without() -> None:
    orders = Orders()
    devices = {5: Device(5, "work", UUID), 6: Device(6, "play")}
    with pytest.raises(ConfigError, match="UUID of play cannot be read"):
        answers(devices, orders).order({"guest": "all", "muted": True, "always": True}, 0)
    assert orders.of(UUID).muted is None
    assert [device.held for device in devices.values()] == [0, 0]


@pytest.mark.parametrize("question", [{"microphone": 1}, {"muted": "yes"}, {"always": []}])
def test_an_order_that_is_none_is_refused(question: dict[str, Any]) -> None:
    devices = {5: Device(5, "work", UUID)}
    with pytest.raises(ConfigError, match="is true or false"):
        answers(devices).order({"guest": "work", "muted": True, **question}, 0)
    assert devices[5].held == 0
