"""The commands mic, mute and unmute: the host's user orders, the running backend carries out."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from xenpvaudio.errors import ConfigError
from xenpvaudio.logs.quoting import printable

from .client import ask_all
from .machine import Machine


def _order(machine: Machine, guest: str, *, always: bool, **what: bool) -> list[str]:
    """The guests that the order holds for now; ConfigError if no backend here knows this one."""
    question = {"ask": "order", "guest": guest, "always": always, **what}
    return [
        name
        for answer in ask_all(question, machine.environ, "backend")
        for name in answer["guests"]
    ]


def run_order(
    guest: str,
    *,
    microphone: bool | None = None,
    muted: bool | None = None,
    always: bool = False,
    machine: Machine | None = None,
    out: TextIO | None = None,
) -> int:
    """`guest`: name, number, UUID or "all". What it holds for is printed."""
    machine, out = machine or Machine(), out or sys.stdout
    words, what = [], {}
    if microphone is not None:
        words.append("microphone allowed" if microphone else "microphone denied")
        what["microphone"] = microphone
    if muted is not None:
        words.append("muted" if muted else "no longer muted")
        what["muted"] = muted
    if not words:
        raise ConfigError("nothing is ordered")
    names = _order(machine, guest, always=always, **what)
    lasting = ", from now on" if always else ", until the backend is restarted"
    for name in names:
        print(printable(f"{name}: {', '.join(words)}{lasting}"), file=out)
    if not names:
        print("no guest has a card here", file=out)
    return 0


def run_mic_list(
    *, as_json: bool = False, machine: Machine | None = None, out: TextIO | None = None
) -> int:
    """Who may use the microphone, by whose word, and who does now."""
    machine, out = machine or Machine(), out or sys.stdout
    guests = [
        {
            "guest": card["peer_name"],
            "domain": card["peer_domain"],
            "card": card["card"],
            "microphone": card["microphone"],
            "by": _by(card),
            "records": any(
                stream["direction"] == "capture" and stream["state"] == "running"
                for stream in card["streams"]
            ),
        }
        for half in ask_all({"ask": "status"}, machine.environ, "backend")
        for card in half["cards"]
    ]
    if as_json:
        print(json.dumps(guests, indent=2), file=out)
    elif not guests:
        print("no guest has a card here", file=out)
    for guest in () if as_json else guests:
        text = f"{guest['guest']} (domain {guest['domain']}, {guest['card']}): "
        text += f"{'allowed' if guest['microphone'] else 'denied'} {guest['by']}"
        if guest["records"]:
            text += ", records now" if guest["microphone"] else ", records silence now"
        print(printable(text), file=out)
    return 0


def _by(card: dict[str, Any]) -> str:
    ordered = card["ordered"]
    if ordered["microphone"] is None:
        return "by the policy, which asks" if card["microphone_asks"] else "by the policy"
    return "by a lasting order" if ordered["lasting"] else "by an order"
