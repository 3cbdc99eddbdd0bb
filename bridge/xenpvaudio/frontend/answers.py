"""What a guest's user may ask a running frontend: the answers of its control socket. Plain values,
units in their names; what each says is in the manual page, STATUS AS JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from xenpvaudio.engine.report import cards_report, opened_report, stream_report
from xenpvaudio.logs.quoting import printable
from xenpvaudio.sndif.codes import Direction
from xenpvaudio.sndif.volume import STEPS_PER_DB, to_steps
from xenpvaudio.xenbus.states import XenbusState
from xenpvaudio_native.card import Available

from .device import Frontend, FrontendDevice
from .node import FrontendStream

# In words, for people.
STATES = {
    XenbusState.UNKNOWN: "new",
    XenbusState.INITIALISING: "waits for the backend",
    XenbusState.INITIALISED: "waits for the backend",
    XenbusState.CONNECTED: "connected",
    XenbusState.CLOSING: "closing",
    XenbusState.CLOSED: "closed",
}


MICROPHONE = {
    Available.YES: "allowed",
    Available.NO: "denied",
    Available.UNKNOWN: "unknown",
}


def _closed(stream: FrontendStream) -> str:
    """The state of a stream that is not open."""
    if stream.link is None:
        return "no backend"
    return "off by the card's profile" if stream.card.off(stream.config) else "suspended"


def _stream(device: FrontendDevice, stream: FrontendStream) -> dict[str, Any]:
    capture = stream.config.direction is Direction.CAPTURE
    route = stream.card.route(stream.config)
    report: dict[str, Any] = {
        **stream_report(stream.config),
        "state": _closed(stream),
        "node": stream.node_name if stream.node is not None else "",
        "volume_db": [to_steps(linear) / STEPS_PER_DB for linear in route.volumes],
        "muted": [route.mute] * len(route.volumes),
        "last_error": printable(stream.last_error),
    }
    if capture:
        report["microphone"] = MICROPHONE[device.available(stream.config)]
    opened = stream.opened
    if opened is None or stream.link is None:
        return report
    stats = stream.link.front.stats
    return report | {
        **opened_report(opened, stats),
        "state": "running" if stats.running else "idle",
        "quantum_frames": stats.quantum_frames,
        "drives": bool(stats.driving),
        "published_delay_frames": stats.published_frames,
        "true_delay_frames": round(stats.true_frames, 1),
        "lead_frames": stats.lead_frames,
        "event_way_usec": round(stats.transport_nsec / 1e3, 1),
        "callback_usec": round(stats.callback_nsec / 1e3, 1),
        "dropped_frames": stats.dropped_frames,
        "xruns": stream.xruns.total,
        "last_xrun_sec": stream.xruns.last_ago_sec(asyncio.get_running_loop().time()),
    }


def _card(device: FrontendDevice) -> dict[str, Any]:
    return {
        "card": device.where,
        "name": printable(device.name),
        "peer_domain": device.backend_id,
        "state": STATES.get(device.state, device.state.name.lower()),
        "streams": [_stream(device, stream) for stream in device.streams()],
        "budgets_met": device.budgets_met,
        "last_error": printable(device.last_error),
    }


class FrontendAnswers:
    """To a running frontend's control socket."""

    def __init__(self, frontend: Frontend, *, domid: int, pipewire: bool = True) -> None:
        self._frontend = frontend
        self._pipewire = pipewire
        self._domid = domid

    def table(self) -> dict[str, Any]:
        return {"status": self.status}

    def status(self, question: Mapping[str, Any], _user: int) -> dict[str, Any]:
        return {
            "half": "frontend",
            "domain": self._domid,
            "pipewire": self._frontend.pipewire_up if self._pipewire else None,
            **cards_report(
                (
                    ((key,), len(device.streams()), partial(_card, device))
                    for key, device in self._frontend.devices.items()
                ),
                question,
            ),
        }
