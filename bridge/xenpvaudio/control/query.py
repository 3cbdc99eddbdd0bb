"""The command query: the cards here, and what each of their streams may be.

"Configured" is what XenStore allows, "negotiated" what was left of it when the frontend had asked
the backend (XENSND_OP_HW_PARAM_QUERY), as its node offers it to PipeWire; "now" is what it is open
with. Without a running frontend only the first is known; on a host the last two are the guest's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

from xenpvaudio.errors import ConfigError
from xenpvaudio.logs.quoting import printable
from xenpvaudio.sndif.card import StreamConfig, parse_card
from xenpvaudio.sndif.codes import Direction
from xenpvaudio.testbed.graph_dump import of_kind
from xenpvaudio.xen.api import Domain, XenStoreError
from xenpvaudio.xen.connect import domain_from_env
from xenpvaudio.xenbus.nodes import read_tree

from . import graph_checks, store_checks
from .finding import Finding
from .machine import Machine

Values = dict[str, list[str]]
KINDS = {Direction.PLAYBACK: "playback", Direction.CAPTURE: "capture"}


@dataclass(slots=True)
class Stream:
    path: str
    kind: str
    configured: Values
    node: str = ""
    negotiated: Values = field(default_factory=dict)
    now: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class CardFound:
    path: str
    name: str = ""
    error: str = ""
    streams: list[Stream] = field(default_factory=list)


def configured(stream: StreamConfig) -> Values:
    rates = stream.rates
    return {
        "formats": [fmt.xenstore_name for fmt in stream.formats],
        "rates": list(map(str, rates)) if isinstance(rates, tuple) else [str(rates)],
        "channels": [str(stream.channels)],
        "buffer_bytes": [f"1..{stream.buffer_bytes}"],
    }


def _card(domain: Domain, path: str) -> CardFound:
    found = CardFound(path)
    try:
        nodes = asyncio.run(read_tree(domain.store, path, lambda requests: None))
        card = parse_card(nodes, where=path)
    except (ConfigError, XenStoreError) as error:  # a guest may hide its own
        found.error = str(error)
        return found
    found.name = card.long_name or card.short_name
    for stream in card.streams:
        found.streams.append(Stream(stream.path, KINDS[stream.direction], configured(stream)))
    return found


def read_cards(domain: Domain) -> list[CardFound]:
    """Those of this domain, then those that it serves."""
    own = store_checks.names(domain.store, store_checks.OWN_CARDS)
    paths = [f"{store_checks.OWN_CARDS}/{devid}" for devid in own]
    for domid in store_checks.names(domain.store, store_checks.GUESTS_CARDS):
        served = f"{store_checks.GUESTS_CARDS}/{domid}"
        for devid in store_checks.names(domain.store, served):
            if (path := domain.store.get(f"{served}/{devid}/frontend")) is not None:
                paths.append(path)
    return [_card(domain, path) for path in paths]


def choices(value: Any) -> list[str]:
    """What a parameter may be, of pw-dump's ways to say it; its default comes once."""
    if not isinstance(value, dict):
        return [str(value)]
    if "min" in value:
        return [f"{value['min']}..{value['max']}"]
    return list(dict.fromkeys(str(value[key]) for key in value))


def add_graph(cards: list[CardFound], objects: list[dict[str, Any]]) -> None:
    """What the frontend's nodes in this guest's PipeWire say of its streams."""
    by_device = {
        f"{store_checks.OWN_CARDS}/{device}": node
        for node in of_kind(objects, "Node")
        if (device := node["info"]["props"].get("xenpv.device"))
    }
    for card in cards:
        for stream in card.streams:
            node = by_device.get(f"{card.path}/{stream.path}")
            if node is not None:
                _add_node(stream, node)


def _add_node(stream: Stream, node: dict[str, Any]) -> None:
    properties = node["info"]["props"]
    stream.node = str(properties["node.name"])
    for offer in (node["info"].get("params") or {}).get("EnumFormat") or []:
        for name, key in (("formats", "format"), ("rates", "rate"), ("channels", "channels")):
            known = stream.negotiated.setdefault(name, [])
            known += [text for text in choices(offer.get(key, "any")) if text not in known]
    for name in ("format", "rate", "channels", "period-frames", "buffer-frames"):
        if (value := properties.get(f"xenpv.{name}")) is not None:
            stream.now[name.replace("-", "_")] = str(value)


def lines(cards: list[CardFound]) -> Iterator[str]:
    for card in cards:
        yield printable(f"{card.path}  {card.name}".rstrip())
        if card.error:
            yield printable(f"  {card.error}")
        for stream in card.streams:
            yield printable(f"  {stream.path}  {stream.kind}  {stream.node}".rstrip())
            yield printable(f"    configured  {_told(stream.configured)}")
            if stream.negotiated:
                yield printable(f"    negotiated  {_told(stream.negotiated)}")
            if stream.now:
                told = "{format}, {rate} Hz, {channels} channels, period {period_frames}"
                told += ", buffer {buffer_frames} frames"
                yield printable(f"    now         {told.format(**_with_all(stream.now))}")


def _told(values: Values) -> str:
    units = {"rates": " Hz", "channels": " channels", "buffer_bytes": " bytes"}
    return "; ".join(f"{', '.join(v)}{units.get(name, '')}" for name, v in values.items())


def _with_all(now: dict[str, str]) -> dict[str, str]:
    names = ("format", "rate", "channels", "period_frames", "buffer_frames")
    return {name: now.get(name, "?") for name in names}


def run_query(
    *, as_json: bool = False, machine: Machine | None = None, out: TextIO | None = None
) -> int:
    """UnavailableError if there is no XenStore. 1 if a card cannot be read."""
    machine, out = machine or Machine(), out or sys.stdout
    domain = domain_from_env(lambda call, *rest: call(*rest), machine.environ)
    try:
        cards = read_cards(domain)
    finally:
        domain.close()
    objects = graph_checks.read_graph(machine)
    if not isinstance(objects, Finding):
        add_graph(cards, objects)
    if as_json:
        print(json.dumps([asdict(card) for card in cards], indent=2), file=out)
    elif not cards:
        print("there is no vsnd card here", file=out)
    else:
        for line in lines(cards):
            print(line, file=out)
    return 1 if any(card.error for card in cards) else 0
