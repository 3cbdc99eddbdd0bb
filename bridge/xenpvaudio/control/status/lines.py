"""A half's report as lines for people, none of them longer than a terminal. Pure.

A stream that is open has two or more: what it is, and how it goes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from xenpvaudio.logs.quoting import printable

WIDTH = 100
_INDENT = " " * 8
_TIED = "~"  # no figure has it, and textwrap breaks no line there
SILENT_DB = -200

Report = dict[str, Any]
Players = Mapping[str, list[str]]


class Line(NamedTuple):
    """`style`: rich's, empty for an ordinary line."""

    text: str
    style: str = ""


def _msec(frames: float, rate_hz: int) -> str:
    return f"{frames * 1000 / rate_hz:.1f} ms"


def _shape(stream: Report) -> str:
    text = f"{stream['format']} {stream['rate_hz']} Hz x{stream['channels']}"
    text += f", period {stream['period_frames']}"
    if stream.get("quantum_frames"):
        text += f", quantum {stream['quantum_frames']}"
    return text


def _db(volume_db: float) -> str:
    return "silent" if volume_db <= SILENT_DB else f"{volume_db:.1f} dB"


def volume(stream: Report) -> str:
    """ "-6.0 dB", of channels that differ the least and the most; "muted", whoever did it."""
    by_guest = all(stream.get("muted") or [False])
    if stream.get("muted_on_host") or by_guest:
        return "muted"
    heard = stream.get("volume_db") or [0.0]
    least, most = min(heard), max(heard)
    return _db(most) if least == most else f"{_db(least)} to {_db(most)}"


def _delays(stream: Report) -> Iterator[str]:
    rate_hz = stream["rate_hz"]
    if "published_delay_frames" in stream:
        yield f"{_msec(stream['published_delay_frames'], rate_hz)} told"
        yield f"{_msec(stream['true_delay_frames'], rate_hz)} true"
    yield f"host {_msec(stream['host_delay_frames'], rate_hz)}"
    if stream["direction"] == "playback":
        yield f"fill {_msec(stream['fill_frames'], rate_hz)}"


def _clock(stream: Report) -> Iterator[str]:
    yield f"{stream['clock_ppm']:+.1f} ppm"
    yield f"jitter {stream['jitter_usec']:.0f} us"


def _xruns(stream: Report) -> str:
    count = stream["xruns"]
    text = "no xrun" if count == 0 else f"{count} xrun{'' if count == 1 else 's'}"
    ago_sec = stream["last_xrun_sec"]
    return text if ago_sec is None else f"{text}, the last {_ago(ago_sec)}"


def _ago(seconds: float) -> str:
    for unit, length_sec in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length_sec:
            return f"{seconds // length_sec:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _notes(half: Report, stream: Report) -> Iterator[str]:
    """What a person would ask next."""
    if stream.get("microphone") == "denied":
        if half["half"] == "backend":
            yield "microphone denied"
        else:
            yield "silent: the host gives no microphone"
    if stream.get("muted_on_host"):
        by_guest = all(stream["muted"]) and not stream["muted_by_hand"]
        yield "muted by the guest" if by_guest else "muted on the host"
    if waits := stream.get("waits"):
        yield f"had to wait {waits} time{'' if waits == 1 else 's'}, for its share of the processor"
    if stream.get("host") not in (None, "pipewire") and stream.get("microphone") != "denied":
        yield f"to {stream['host']}"
    if stream["last_error"]:
        yield stream["last_error"]


def _below(parts: list[str], style: str, width: int) -> Iterator[Line]:
    text = printable(", ".join(parts))
    for line in textwrap.wrap(text, width, initial_indent=_INDENT, subsequent_indent=_INDENT):
        yield Line(line, style)


def _figures(parts: list[str], style: str, width: int) -> Iterator[Line]:
    """A figure and its unit stand in one line."""
    joined = _below([part.replace(" ", _TIED) for part in parts], style, width)
    return (line._replace(text=line.text.replace(_TIED, " ")) for line in joined)


def stream_lines(
    half: Report, card: Report, stream: Report, players: Players, width: int = WIDTH
) -> Iterator[Line]:
    """`players`: names of applications by their node."""
    room = max(len(other["path"]) for other in card["streams"])
    is_open = "rate_hz" in stream
    style = "red" if stream["last_error"] or stream.get("xruns") else ""
    first = f"  {stream['path']:{room}} {stream['direction']:8}  {stream['state']:9}"
    if is_open:
        first += f"  {_shape(stream)}  {volume(stream)}"
    yield Line(first.rstrip(), style)
    if is_open:
        figures = [*_delays(stream), *_clock(stream), _xruns(stream)]
        yield from _figures(figures, style, width)
    notes = [*players.get(stream.get("node", ""), ()), *_notes(half, stream)]
    if notes:
        yield from _below(notes, style, width)


def _muted(card: Report) -> str:
    """What is ordered, and where somebody unmuted it in the host's mixer."""
    if not card["muted"]:
        return ""
    heard = [s["path"] for s in card["streams"] if s.get("muted_on_host") is False]
    return f"; muted, but {', '.join(heard)} is heard: unmuted on the host" if heard else "; muted"


def title(half: Report, card: Report) -> str:
    """One card, and who is at its other end."""
    name = f" {card['name']}" if card.get("name") else ""
    peer = f"domain {card['peer_domain']}"
    if card.get("peer_name"):
        peer += f" ({card['peer_name']})"
    text = f"{card['card']}{name}, {'for' if half['half'] == 'backend' else 'by'} {peer}: "
    text += card["state"]
    if half["half"] == "backend":
        text += f"; microphone {'allowed' if card['microphone'] else 'denied'}"
        text += ", asked for at its use" if card["microphone_asks"] else ""
        text += _muted(card)
    met = [f"{key} {count} times" for key, count in card["budgets_met"].items()]
    if met:
        text += f"; met {', '.join(met)}"
    if card["last_error"]:
        text += f"; {card['last_error']}"
    return printable(text)


def head(half: Report) -> str:
    """One half, in a line."""
    pipewire = {True: "PipeWire is there", False: "waits for PipeWire", None: "without PipeWire"}
    cards = len(half["cards"])
    counted = f"{cards} card{'' if cards == 1 else 's'}"
    return f"{half['half']} of domain {half['domain']}: {pipewire[half['pipewire']]}, {counted}"


def lines(halves: list[Report], players: Players, width: int = WIDTH) -> Iterator[Line]:
    """All of it."""
    for half in halves:
        yield Line(head(half), "bold")
        for card in half["cards"]:
            for text in textwrap.wrap(title(half, card), width, subsequent_indent="  "):
                yield Line(text)
            for stream in card["streams"]:
                yield from stream_lines(half, card, stream, players, width)
