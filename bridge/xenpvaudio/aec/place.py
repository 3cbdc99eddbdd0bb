"""Which of the frontend's streams the canceller is put before, and what is known of their delay."""

from __future__ import annotations

from xenpvaudio.frontend.device import Frontend
from xenpvaudio.frontend.node import FrontendStream
from xenpvaudio.sndif.codes import Direction

from .configuration import RATE_HZ, Ends


def ends_of(frontend: Frontend) -> Ends | None:
    """The first card that plays and captures; of each direction its first stream."""
    for _, device in sorted(frontend.devices.items()):
        streams = [stream for stream in device.streams() if stream.node is not None]
        sinks = [s for s in streams if s.config.direction is Direction.PLAYBACK]
        sources = [s for s in streams if s.config.direction is Direction.CAPTURE]
        if sinks and sources:
            told = [_published_frames(sinks[0]), _published_frames(sources[0])]
            known = [frames for frames in told if frames is not None]
            delay = round(sum(known)) if len(known) == len(told) else None
            return Ends(sinks[0].node_name, sources[0].node_name, delay)
    return None


def _published_frames(stream: FrontendStream) -> float | None:
    """At RATE_HZ; None while it does not run, or nothing is published yet."""
    if stream.link is None or stream.opened is None:
        return None
    stats = stream.link.front.stats
    if not stats.running or not stats.published_frames:
        return None
    return stats.published_frames * RATE_HZ / stream.opened.rate
