"""The halves' reports as OpenMetrics text (https://openmetrics.io), once, for a textfile collector.
Pure.

Gauges are in seconds, frames, ratios or decibels, as their names say; a stream that is not open has
only what is known of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Report = dict[str, Any]
Labels = Mapping[str, str]

# Of what the report has in frames at the stream's rate.
SECONDS = (
    ("published_delay_frames", "published_delay", "Delay that applications are told."),
    ("true_delay_frames", "true_delay", "Delay that the last cycle had."),
    ("host_delay_frames", "host_delay", "Taken by the host, not yet heard."),
    ("fill_frames", "fill", "Written by the guest, not yet heard."),
)
# Key, name, factor, what.
GAUGES = (
    ("jitter_usec", "jitter_seconds", 1e-6, "How unevenly events or the host's cycles come."),
    ("event_way_usec", "event_way_seconds", 1e-6, "How long an event takes from the backend."),
    ("clock_ppm", "clock_offset_ratio", 1e-6, "How much faster the host's clock is."),
    ("last_xrun_sec", "last_xrun_age_seconds", 1.0, "How long ago the last xrun was."),
)
COUNTERS = (
    ("xruns", "xruns", "Times that data came too late."),
    ("silence_frames", "silence_frames", "Frames of silence put in its place."),
    ("waits", "waits", "Times that the other end had to wait for its share of the processor."),
)


class _Families:
    """Samples of one name stand together, whoever they are of."""

    def __init__(self) -> None:
        self._families: dict[tuple[str, str, str], list[str]] = {}

    def add(self, name: str, kind: str, what: str, labels: Labels, value: float) -> None:
        text = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
        sample = f"xenpv_{name}{'_total' if kind == 'counter' else ''}{{{text}}} {_number(value)}"
        self._families.setdefault((f"xenpv_{name}", kind, what), []).append(sample)

    def text(self) -> Iterator[str]:
        for (name, kind, what), samples in self._families.items():
            yield f"# HELP {name} {what}"
            yield f"# TYPE {name} {kind}"
            yield from samples
        yield "# EOF"


def _number(value: float) -> str:
    """As many digits as it has: a counter must not stand still."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _stream(found: _Families, labels: Labels, stream: Report) -> None:
    running = stream["state"] == "running"
    found.add("running", "gauge", "Whether it plays or captures.", labels, running)
    if stream.get("microphone") in ("allowed", "denied"):
        allowed = stream["microphone"] == "allowed"
        what = "Whether the host gives the microphone."
        found.add("microphone_allowed", "gauge", what, labels, allowed)
    if "rate_hz" not in stream:
        return
    for key, name, what in SECONDS:
        if key in stream:
            found.add(f"{name}_seconds", "gauge", what, labels, stream[key] / stream["rate_hz"])
    for key, name, factor, what in GAUGES:
        if stream.get(key) is not None:
            found.add(name, "gauge", what, labels, stream[key] * factor)
    for key, name, what in COUNTERS:
        found.add(name, "counter", what, labels, stream[key])
    muted = bool(stream.get("muted_on_host")) or all(stream["muted"])
    found.add("muted", "gauge", "Whether all of it is muted.", labels, muted)
    for channel, volume_db in enumerate(stream["volume_db"]):
        labels_of = {**labels, "channel": str(channel)}
        found.add("volume_decibels", "gauge", "Volume of a channel.", labels_of, volume_db)


def metrics(halves: list[Report]) -> Iterator[str]:
    """Line by line, with # EOF."""
    found = _Families()
    for half in halves:
        for card in half["cards"]:
            of_card = {
                "half": half["half"],
                "domain": str(half["domain"]),
                "peer_domain": str(card["peer_domain"]),
                "peer": card.get("peer_name", ""),
                "card": card["card"],
            }
            connected = card["state"] == "connected"
            found.add("connected", "gauge", "Whether both ends are.", of_card, connected)
            for key, count in card["budgets_met"].items():
                what = "Times that the other end wanted more than a budget allows."
                found.add("budgets_met", "counter", what, {**of_card, "budget": key}, count)
            for stream in card["streams"]:
                path = {"stream": stream["path"], "direction": stream["direction"]}
                _stream(found, {**of_card, **path}, stream)
    yield from found.text()
