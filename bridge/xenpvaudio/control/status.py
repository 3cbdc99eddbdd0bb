"""The command status: what runs here, how late its sound is, and what went wrong, from the halves
themselves (control/server.py) and, in a guest, from PulseAudio's list of who plays.

`--json` is what the halves say, unchanged; `--metrics` the same figures as OpenMetrics text, once,
for a collector of files. Tables are rich's; without it the same rows are plain lines.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any, TextIO

from xenpvaudio.errors import UnavailableError
from xenpvaudio.logs.quoting import printable

from .applications import applications
from .client import ask_all
from .machine import Machine

WATCH_SEC = 1.0
Report = dict[str, Any]


def _msec(frames: float, rate_hz: int) -> str:
    return f"{frames * 1000 / rate_hz:.1f} ms"


def _delay(stream: Report) -> str:
    """What is true of its delay, in words."""
    if "rate_hz" not in stream:
        return ""
    rate_hz = stream["rate_hz"]
    told = [f"host {_msec(stream['host_delay_frames'], rate_hz)}"]
    if "published_delay_frames" in stream:
        told.insert(0, f"{_msec(stream['published_delay_frames'], rate_hz)} published")
    if stream["direction"] == "playback":
        told.append(f"fill {_msec(stream['fill_frames'], rate_hz)}")
    return ", ".join(told)


def _shape(stream: Report) -> str:
    if "rate_hz" not in stream:
        return ""
    text = f"{stream['format']} {stream['rate_hz']} Hz x{stream['channels']}"
    text += f", period {stream['period_frames']}"
    if stream.get("quantum_frames"):
        text += f", quantum {stream['quantum_frames']}"
    return text


def _clock(stream: Report) -> str:
    if "clock_ppm" not in stream:
        return ""
    way = f", events {stream['event_way_usec']:.0f} us" if "event_way_usec" in stream else ""
    return f"{stream['clock_ppm']:+.1f} ppm{way}"


def _xruns(stream: Report) -> str:
    if "xruns" not in stream:
        return ""
    last = stream.get("last_xrun_sec")
    return f"{stream['xruns']}" + (f", {last:.0f} s ago" if last is not None else "")


def _notes(stream: Report, playing: Mapping[str, list[str]]) -> str:
    notes = list(playing.get(stream.get("node", ""), []))
    if all(stream.get("muted") or [False]):
        notes.append("muted by the guest")
    if stream.get("waits"):
        notes.append(f"had to wait {stream['waits']} times")
    if stream.get("host") not in (None, "pipewire"):
        notes.append(f"to {stream['host']}")
    return printable(", ".join(notes))


COLUMNS = ("stream", "state", "format", "delay", "clock", "xruns", "")


def rows(card: Report, playing: Mapping[str, list[str]]) -> list[tuple[str, ...]]:
    """A row a stream, of the columns above."""
    return [
        (
            f"{stream['path']} {stream['direction']}",
            stream["state"],
            _shape(stream),
            _delay(stream),
            _clock(stream),
            _xruns(stream),
            _notes(stream, playing),
        )
        for stream in card["streams"]
    ]


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
        text += "; muted" if card["muted"] else ""
    if card["last_error"]:
        text += f"; {card['last_error']}"
    return printable(text)


def head(half: Report) -> str:
    """One half, in a line."""
    pipewire = {True: "PipeWire is there", False: "waits for PipeWire", None: "without PipeWire"}
    cards = len(half["cards"])
    counted = f"{cards} card{'' if cards == 1 else 's'}"
    return f"{half['half']} of domain {half['domain']}: {pipewire[half['pipewire']]}, {counted}"


def picture(halves: list[Report], playing: Mapping[str, list[str]]) -> Any:
    """All of it, for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for half in halves:
        parts.append(Text(head(half), style="bold"))
        for card in half["cards"]:
            parts.append(Text(title(half, card)))
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=False)
            for _ in COLUMNS:
                table.add_column(overflow="fold")
            for row in rows(card, playing):
                style = "red" if row[5] not in ("", "0") else ""
                table.add_row(*(Text(cell, style=style) for cell in row))
            parts.append(table)
    return Group(*parts)


def plain(halves: list[Report], playing: Mapping[str, list[str]]) -> Iterator[str]:
    """All of it, without rich."""
    for half in halves:
        yield head(half)
        for card in half["cards"]:
            yield title(half, card)
            for row in rows(card, playing):
                yield "  " + "  ".join(filter(None, row))


def metrics(halves: list[Report]) -> Iterator[str]:
    """OpenMetrics text (https://openmetrics.io): gauges in seconds and frames, counters."""
    families: dict[tuple[str, str, str], list[str]] = {}

    def add(name: str, kind: str, what: str, labels: Mapping[str, str], value: float) -> None:
        text = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
        suffix = "_total" if kind == "counter" else ""
        families.setdefault((name, kind, what), []).append(f"{name}{suffix}{{{text}}} {value:g}")

    for half in halves:
        for card in half["cards"]:
            for stream in card["streams"]:
                labels = {
                    "half": half["half"],
                    "peer": card.get("peer_name") or str(card["peer_domain"]),
                    "card": card["card"],
                    "stream": stream["path"],
                    "direction": stream["direction"],
                }
                running = float(stream["state"] == "running")
                add("xenpv_running", "gauge", "Whether it plays or captures.", labels, running)
                if "rate_hz" not in stream:
                    continue
                for key, name, what in SECONDS:
                    if key in stream:
                        seconds = stream[key] / stream["rate_hz"]
                        add(name, "gauge", what, labels, seconds)
                for key, name, what in COUNTERS:
                    add(name, "counter", what, labels, stream[key])
    for (name, kind, what), lines in families.items():
        yield f"# HELP {name} {what}"
        yield f"# TYPE {name} {kind}"
        yield from lines
    yield "# EOF"


SECONDS = (
    (
        "published_delay_frames",
        "xenpv_published_delay_seconds",
        "Delay that applications are told.",
    ),
    ("host_delay_frames", "xenpv_host_delay_seconds", "Taken by the host, not yet heard."),
    ("fill_frames", "xenpv_fill_seconds", "Written by the guest, not yet heard."),
)
COUNTERS = (
    ("xruns", "xenpv_xruns", "Times that data came too late."),
    ("silence_frames", "xenpv_silence_frames", "Frames of silence put in its place."),
)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def run_status(
    *,
    as_json: bool = False,
    as_metrics: bool = False,
    watch: bool = False,
    machine: Machine | None = None,
    out: TextIO | None = None,
) -> int:
    """UnavailableError if neither half runs here. `watch`: until it is interrupted."""
    machine, out = machine or Machine(), out or sys.stdout
    halves = ask_all({"ask": "status"}, machine.environ)
    if as_json:
        print(json.dumps(halves, indent=2), file=out)
        return 0
    if as_metrics:
        for line in metrics(halves):
            print(line, file=out)
        return 0
    if find_spec("rich") is None:
        if watch:
            raise UnavailableError(
                "rich cannot be imported here", hint="pip install xen-pv-audio[status]"
            )
        for line in plain(halves, applications(machine.environ)):
            print(line, file=out)
        return 0
    from rich.console import Console

    console = Console(file=out, highlight=False)
    if not watch:
        console.print(picture(halves, applications(machine.environ)))
        return 0
    from rich.live import Live

    # Live shows nothing of what it replaces where there is no screen.
    live = Live(console=console, auto_refresh=False, screen=True) if console.is_terminal else None
    with live or nullcontext():
        while True:
            shown = picture(halves, applications(machine.environ))
            if live is not None:
                live.update(shown, refresh=True)
            else:
                console.print(shown)
                out.flush()
            time.sleep(WATCH_SEC)  # the halves renew their figures once a second
            halves = ask_all({"ask": "status"}, machine.environ)
