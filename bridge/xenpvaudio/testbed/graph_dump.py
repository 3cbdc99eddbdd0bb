"""What pw-dump prints of a PipeWire graph, as Python values. Pure; the caller runs the program.

Usually one JSON array. Where the graph changes while pw-dump reads it, more arrays follow, with the
objects that changed, and those that went away with nothing but their id and "info": null.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

_JSON = json.JSONDecoder()


def parse_dump(text: str) -> list[dict[str, Any]]:
    """The objects that are there in the end, each with its "info", or with its "metadata".
    ValueError if it is no dump."""
    found: dict[int, dict[str, Any]] = {}
    rest = text.strip()
    if not rest:
        raise ValueError("pw-dump printed nothing")
    while rest:
        objects, end = _JSON.raw_decode(rest)
        for thing in objects:
            found[thing["id"]] = thing
        rest = rest[end:].lstrip()
    return [thing for thing in found.values() if thing.get("info") or "metadata" in thing]


def of_kind(objects: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those of a kind ("Node", "Port") that have properties."""
    wanted = f"PipeWire:Interface:{kind}"
    return [t for t in objects if t.get("type") == wanted and t["info"].get("props")]


def named_node(objects: Iterable[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """The node with this node.name."""
    for node in of_kind(objects, "Node"):
        if node["info"]["props"].get("node.name") == name:
            return node
    return None


def metadata(objects: Iterable[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """Values by key of the metadata with this name; None if there is none."""
    for thing in objects:
        if "metadata" in thing and (thing.get("props") or {}).get("metadata.name") == name:
            return {entry["key"]: entry["value"] for entry in thing["metadata"]}
    return None
