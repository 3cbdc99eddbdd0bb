"""What both halves report of a stream; each adds its own. Plain values, units in their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any

from xenpvaudio.errors import ConfigError
from xenpvaudio.sndif.card import StreamConfig
from xenpvaudio.sndif.codes import Direction
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio_native.plane import Stats

PAGE_STREAMS = 64
"""Of an answer that comes in pages: each stream is at most some kilobytes."""

Key = tuple[int | str, ...]
Card = tuple[Key, int, Callable[[], dict[str, Any]]]
"""Its key, how many streams it has, its report."""


def cards_report(cards: Iterable[Card], question: Mapping[str, Any]) -> dict[str, Any]:
    """{"cards": the reports in the order of their keys}. A question with "after" gets a page: one
    card, and more up to PAGE_STREAMS streams; then "more" is what to ask after next, and is left
    out at the end. "after": null begins. So no number of guests with many streams makes an answer
    too long or too slow for another one's to be in it. ConfigError: not a key."""
    if "after" not in question:
        return {"cards": [report() for _, _, report in sorted(cards, key=_key)]}
    after = question["after"] or []
    try:
        left = [card for card in sorted(cards, key=_key) if list(_key(card)) > after]
    except TypeError:
        raise ConfigError("after: no card's key") from None
    fit = sum(total <= PAGE_STREAMS for total in accumulate(count for _, count, _ in left))
    shown = max(1, fit)
    page = {"cards": [report() for _, _, report in left[:shown]]}
    return page | {"more": list(_key(left[shown - 1]))} if left[shown:] else page


def _key(card: Card) -> Key:
    return card[0]


def stream_report(config: StreamConfig) -> dict[str, str]:
    """Whether or not it is open."""
    return {
        "path": config.path,
        "direction": "capture" if config.direction is Direction.CAPTURE else "playback",
    }


def opened_words(opened: Config) -> str:
    """For the log."""
    return (
        f"{opened.format.xenstore_name} {opened.rate} Hz {opened.channels} channels, "
        f"period {opened.period_frames}, buffer {opened.buffer_frames} frames"
    )


def opened_report(opened: Config, stats: Stats) -> dict[str, Any]:
    """While it is open. Without "xruns": a guest's go on over connections."""
    return {
        "format": opened.format.xenstore_name,
        "rate_hz": opened.rate,
        "channels": opened.channels,
        "period_frames": opened.period_frames,
        "buffer_frames": opened.buffer_frames,
        "fill_frames": stats.delay_frames,
        "host_delay_frames": round(stats.host_delay_frames, 1),
        "clock_ppm": round(stats.ppm, 2),
        "jitter_usec": round(stats.jitter_nsec / 1e3, 1),
        "waits": stats.rests,
        "silence_frames": stats.silence_frames,
    }
