"""The commands mic, mute and unmute: the host's user orders, the running backend carries out.

What is told of a guest that is silenced, or no longer, is how its streams really are in the host's
mixer, a moment later.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from xenpvaudio.errors import ConfigError
from xenpvaudio.logs.quoting import printable

from .client import ask_all, status_all
from .machine import Machine


def _order(machine: Machine, guest: str, *, always: bool, **what: bool) -> list[str]:
    """The guests that the order holds for now; ConfigError if no backend here knows this one."""
    question = {"ask": "order", "guest": guest, "always": always, **what}
    return [
        name
        for answer in ask_all(question, machine.environ, "backend")
        for name in answer["guests"]
    ]


# PipeWire tells of what was set within milliseconds.
SETTLE_SEC = 2.0
LOOK_SEC = 0.05


def _cards(machine: Machine) -> Iterator[dict[str, Any]]:
    for half in status_all(machine.environ, "backend"):
        yield from half["cards"]


def _otherwise(machine: Machine, names: list[str], muted: bool) -> dict[str, list[str]]:
    """Streams that the host's mixer has otherwise than ordered, in words, by their guest."""
    deadline_sec = time.monotonic() + SETTLE_SEC
    while True:
        odd: dict[str, list[str]] = {}
        for card in _cards(machine):
            for stream in card["streams"]:
                runs = stream["state"] == "running" and card["peer_name"] in names
                if runs and stream["muted_on_host"] is (not muted):
                    by = " by the guest itself" if all(stream["muted"]) else ""
                    text = "is still heard" if muted else f"is still muted{by}"
                    where = f"{card['card']}/{stream['path']}"
                    odd.setdefault(card["peer_name"], []).append(f"{where} {text}")
        if not odd or time.monotonic() >= deadline_sec:
            return odd
        time.sleep(LOOK_SEC)  # the host's mixer tells the half, and nobody tells us


def run_order(
    guest: str,
    *,
    microphone: bool | None = None,
    muted: bool | None = None,
    always: bool = False,
    machine: Machine | None = None,
    out: TextIO | None = None,
) -> int:
    """`guest`: name, number, UUID or "all". What it holds for is printed; 1 if one who is to be
    silent is still heard."""
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
    odd = {} if muted is None else _otherwise(machine, names, muted)
    for name in names:
        told = "; ".join([", ".join(words) + lasting, *odd.get(name, ())])
        print(printable(f"{name}: {told}"), file=out)
    if not names:
        print("no guest has a card here", file=out)
    return 1 if muted and odd else 0


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
        for card in _cards(machine)
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
