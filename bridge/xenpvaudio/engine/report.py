"""What both halves report of a stream; each adds its own. Plain values, units in their names."""

from __future__ import annotations

from typing import Any

from xenpvaudio.sndif.card import StreamConfig
from xenpvaudio.sndif.codes import Direction
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio_native.plane import Stats


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
