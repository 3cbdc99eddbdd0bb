"""What the host's user may ask a running backend, and order it: the answers of its control socket.

A report is plain values, units in their names; what each says is in the manual page, STATUS AS
JSON. Whatever a guest chose in it is a number, or went through printable().
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from xenpvaudio.engine.report import cards_report, opened_report, stream_report
from xenpvaudio.errors import ConfigError, XenPvAudioError
from xenpvaudio.logs.quoting import printable, quote
from xenpvaudio.sndif.codes import Direction
from xenpvaudio.sndif.volume import STEPS_PER_DB
from xenpvaudio.xenbus.states import XenbusState

from ..backend import Backend
from ..device import BackendDevice
from ..stream import BackendStream
from .orders import Order, Orders

log = logging.getLogger(__name__)

# In words, for people.
STATES = {
    XenbusState.UNKNOWN: "new",
    XenbusState.INIT_WAIT: "waits for the guest",
    XenbusState.CONNECTED: "connected",
    XenbusState.CLOSING: "closing",
    XenbusState.CLOSED: "closed",
}
EVERYBODY = "all"


def _last_error(stream: BackendStream) -> str:
    return stream.last_error or (stream.port.complaint if stream.port else "")


def _stream(device: BackendDevice, stream: BackendStream) -> dict[str, Any]:
    capture = stream.config.direction is Direction.CAPTURE
    report: dict[str, Any] = {
        **stream_report(stream.config),
        "state": "closed",
        "host": stream.output.kind,
        "last_error": printable(_last_error(stream)),
    }
    if capture:
        report["microphone"] = "denied" if device.denied(stream.config) else "allowed"
    opened = stream.opened
    if opened is None:
        return report
    stats = stream.back.stats
    return report | {
        **opened_report(opened, stats),
        "state": "running" if stream.running else "open",
        "position_frames": stats.position_frames,
        "xruns": stats.xruns,
        "last_xrun_sec": _ago_sec(stats.last_xrun_nsec),
        "volume_db": [steps / STEPS_PER_DB for steps in stream.mixer.steps],
        "muted": [*stream.mixer.muted],
        "muted_by_hand": stream.mixer.by_hand,
        "muted_on_host": stream.port.muted if stream.port else None,
    }


def _ago_sec(nsec: int) -> float | None:
    """0: never."""
    return round(time.monotonic() - nsec / 1e9, 1) if nsec else None


def _card(device: BackendDevice, domid: int, devid: str, orders: Orders) -> dict[str, Any]:
    ordered = orders.of(device.key)
    return {
        "card": f"vsnd/{devid}",
        "peer_domain": domid,
        "peer_name": device.domain_name,
        "state": STATES.get(device.state, device.state.name.lower()),
        "microphone": device.policy.microphone,
        "microphone_asks": device.policy.ask_microphone,
        "muted": device.policy.muted,
        "ordered": {
            "microphone": ordered.microphone,
            "muted": ordered.muted,
            "lasting": orders.lasting(device.key) == ordered,
        },
        "streams": [_stream(device, stream) for stream in device.streams.values()],
        "budgets_met": device.budgets_met,
        "last_error": printable(device.last_error),
    }


class BackendAnswers:
    """To a running backend's control socket."""

    def __init__(self, backend: Backend, orders: Orders, *, domid: int, pipewire: bool) -> None:
        self._backend = backend
        self._orders = orders
        self._domid = domid
        self._pipewire = pipewire

    def table(self) -> dict[str, Any]:
        return {"status": self.status, "order": self.order}

    def status(self, question: Mapping[str, Any], _user: int) -> dict[str, Any]:
        return {
            "half": "backend",
            "domain": self._domid,
            "pipewire": self._backend.pipewire_up if self._pipewire else None,
            **cards_report(
                (
                    (key, len(device.streams), partial(_card, device, *key, self._orders))
                    for key, device in self._backend.devices.items()
                ),
                question,
            ),
        }

    def order(self, question: Mapping[str, Any], user: int) -> dict[str, Any]:
        """{"guest": name, number, UUID or "all", "microphone": bool, "muted": bool, "always": bool}
        to the names of those that it holds for. ConfigError if there is no such guest."""
        order = Order(_flag(question, "microphone"), _flag(question, "muted"))
        guest = str(question.get("guest", ""))
        devices = self._meant(guest)
        if not devices and guest != EVERYBODY:
            names = sorted({device.domain_name for device in self._backend.devices.values()})
            raise ConfigError(
                f"no guest {quote(guest)} has a card here",
                hint=f"there are {', '.join(names)}" if names else "there is none now",
            )
        always = bool(_flag(question, "always"))
        for device in devices:
            if always and not device.has_uuid:
                raise ConfigError(
                    f"the UUID of {device.domain_name} cannot be read, so no order lasts for it",
                    hint="write it into the policy file",
                )
        for key in sorted({device.key for device in devices}):
            self._orders.give(key, order, always=always)
        told, failed = list[str](), None
        for device in devices:
            try:
                device.hold_to()
                if order.muted is not None:
                    device.silence(order.muted)
            except XenPvAudioError as error:  # the others' turn first
                failed = error
            if device.domain_name not in told:
                told.append(device.domain_name)
        for name in told:
            log.info("%s: %s, ordered by user %d", name, _words(order), user)
        if failed is not None:
            raise failed
        return {"guests": told}

    def _meant(self, guest: str) -> list[BackendDevice]:
        """By UUID, number or name, the first that fits, as in the policy: a domain may have another
        one's number for its name."""
        devices = self._backend.devices
        if guest == EVERYBODY:
            return list(devices.values())
        by_uuid = [device for device in devices.values() if device.key == guest.lower()]
        by_number = [device for (domid, _), device in devices.items() if str(domid) == guest]
        by_name = [device for device in devices.values() if device.domain_name == guest]
        return by_uuid or by_number or by_name


def _flag(question: Mapping[str, Any], name: str) -> bool | None:
    value = question.get(name)
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{name} is true or false")
    return value


def _words(order: Order) -> str:
    words = []
    if order.microphone is not None:
        words.append(f"microphone {'allowed' if order.microphone else 'denied'}")
    if order.muted is not None:
        words.append("muted" if order.muted else "no longer muted")
    return ", ".join(words) or "nothing"
