"""The README's picture of what a stream costs, drawn from a report of `make bench`."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LEFT, BAR, GAP = 900, 190, 18, 8
ROOM = WIDTH - LEFT - 150
OURS, OTHERS, TEXT = "#1f5fa8", "#9aa7b4", "#112233"


def bars(title: str, sides: dict[str, Any], top: int) -> Iterator[str]:
    told = {name: statistics.median(side["cpu_msec_per_sec"]) for name, side in sides.items()}
    longest = max(told.values())
    yield f'  <text x="20" y="{top}" font-weight="bold" fill="{TEXT}">{escape(title)}</text>'
    for number, (name, msec) in enumerate(told.items()):
        y = top + 14 + number * (BAR + GAP)
        wide = max(1, round(ROOM * msec / longest))
        colour = OURS if name.startswith("ours") else OTHERS
        woken = statistics.median(sides[name]["wakes_per_sec"])
        label = f'y="{y + 14}" fill="{TEXT}"'
        yield f'  <text x="{LEFT - 10}" {label} text-anchor="end">{escape(name)}</text>'
        yield f'  <rect x="{LEFT}" y="{y}" width="{wide}" height="{BAR}" fill="{colour}"/>'
        shown = f"{msec:.1f} ms/s, {woken:.0f} wake-ups"
        yield f'  <text x="{LEFT + wide + 8}" {label}>{shown}</text>'


def draw(report: dict[str, Any]) -> str:
    """An SVG document. LookupError if the section "peers" was not measured."""
    parts, top = [], 30
    for quantum, found in report["sections"]["peers"]["figures"].items():
        title = f"A stereo stream at quantum {quantum}: processor, and wake-ups a second"
        parts += bars(title, found["sides"], top)
        top += 14 + len(found["sides"]) * (BAR + GAP) + 34
    machine = report["machine"]
    words = (
        f"{machine['processors']} processors ({machine['processor']}), Linux {machine['kernel']}, "
        f"PipeWire {machine['pipewire']}; without the application"
    )
    parts.append(f'  <text x="20" y="{top}" font-size="11" fill="#556677">{escape(words)}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 16}" '
            'font-family="sans-serif" font-size="13" role="img" aria-labelledby="title">',
            '  <title id="title">What a stream costs, ours beside PipeWire\'s devices</title>',
            f'  <rect width="{WIDTH}" height="{top + 16}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def write(report: dict[str, Any], path: Path) -> None:
    path.write_text(draw(report), encoding="utf-8")
