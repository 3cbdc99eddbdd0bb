"""Reads the vsnd cards of an xl.cfg, as xl and libxl do, and refuses what they refuse."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from xenpvaudio.sndif.card import Card, parse_card
from xenpvaudio.sndif.codes import PcmFormat

CARD_KEYS = {"backend", "short-name", "long-name"}
COMMON_KEYS = {"sample-rates", "sample-formats", "channels-min", "channels-max", "buffer-size"}
KEYS = {
    "card": CARD_KEYS | COMMON_KEYS,
    "pcm": {"name"} | COMMON_KEYS,
    "stream": {"unique-id", "type"} | COMMON_KEYS,
}


def xl_settings(path: Path) -> dict[str, object]:
    """xl.cfg's assignments. Texts and lists are written as in Python."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: dict[str, object] = {}
    for line in tree.body:
        assert isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
        found[line.targets[0].id] = ast.literal_eval(line.value)
    return found


def xl_nodes(items: list[str]) -> dict[str, str]:
    """One card's list in xl.cfg as the nodes that libxl writes (xl_parse.c, parse_vsnd_item)."""
    nodes: dict[str, str] = {}
    devices, streams = -1, -1
    for item in items:
        kind, *settings = [part.lstrip(" ") for part in item.split(",")]
        level = kind.lower()
        prefix = ""
        if level == "pcm":
            devices, streams = devices + 1, -1
            prefix = f"{devices}/"
        elif level == "stream":
            devices, streams = max(devices, 0), streams + 1
            prefix = f"{devices}/{streams}/"
        for setting in settings:
            key, _, value = setting.partition("=")
            assert key in KEYS[level], f"xl refuses {key} in {kind}"
            if key in ("sample-rates", "sample-formats"):
                value = value.replace(";", ",")
            if key == "sample-formats":
                # xl takes libxl's names, which are those of the header's macros
                assert {name.upper() for name in value.split(",")} <= set(PcmFormat.__members__)
            nodes[prefix + key] = value
    return nodes


def card_lists(path: Path) -> list[list[str]]:
    cards = xl_settings(path)["vsnd"]
    assert isinstance(cards, list) and cards
    return cards


def xl_cards(path: Path) -> Iterator[Card]:
    for items in card_lists(path):
        yield parse_card(xl_nodes(items))
