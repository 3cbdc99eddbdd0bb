"""A half's report (`status --json`) in one line, for `systemctl status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _delay_msec(stream: Mapping[str, Any]) -> float:
    """From what applications write to what is heard: as they are told, in a guest; on the host, of
    what the guest has written."""
    frames = stream.get("published_delay_frames", stream["fill_frames"])
    return float(frames * 1000 / stream["rate_hz"])


def summary(report: Mapping[str, Any]) -> str:
    """Such as "2 guests, 3 streams running, delay 21.3 ms"; the delay is the longest one of what
    plays."""
    cards = report["cards"]
    streams = [s for card in cards for s in card["streams"] if s["state"] == "running"]
    if report["half"] == "backend":
        held = _counted(len({card["peer_domain"] for card in cards}), "guest")
    else:
        held = _counted(len(cards), "card")
    parts = [held, f"{_counted(len(streams), 'stream')} running"]
    if delays := [_delay_msec(s) for s in streams if s["direction"] == "playback"]:
        parts.append(f"delay {max(delays):.1f} ms")
    if report["pipewire"] is False:
        parts.append("waits for PipeWire")
    return ", ".join(parts)
