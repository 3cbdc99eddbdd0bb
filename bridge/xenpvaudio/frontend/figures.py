"""What a node's properties tell of its stream, for pw-cli and `pactl list`. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from xenpvaudio.sndif.hwparams import Config
from xenpvaudio_native.plane import Stats


def negotiated(config: Config) -> dict[str, str]:
    """What it is open with."""
    return {
        "xenpv.format": config.format.xenstore_name,
        "xenpv.rate": str(config.rate),
        "xenpv.channels": str(config.channels),
        "xenpv.period-frames": str(config.period_frames),
        "xenpv.buffer-frames": str(config.buffer_frames),
        "node.max-latency": f"{config.buffer_frames // 2}/{config.rate}",
    }


def live(stats: Stats, rate_hz: int, xruns: int, *, volume_by_host: bool) -> dict[str, str]:
    """How it goes; `xruns`: of all its connections."""
    return {
        "xenpv.delay-ms": f"{stats.published_frames * 1000 / rate_hz:.3f}",
        "xenpv.lead-ms": f"{stats.lead_frames * 1000 / rate_hz:.3f}",
        "xenpv.host-delay-ms": f"{stats.host_delay_frames * 1000 / rate_hz:.3f}",
        "xenpv.clock-ppm": f"{stats.ppm:.2f}",
        "xenpv.transport-us": f"{stats.transport_nsec / 1000:.0f}",
        "xenpv.callback-us": f"{stats.callback_nsec / 1000:.1f}",
        "xenpv.xruns": str(xruns),
        "xenpv.state": "running" if stats.running else "idle",
        "xenpv.driver": "yes" if stats.driving else "no",
        "xenpv.volume": "host" if volume_by_host else "guest",
    }


# What changes all the time is told now and then, and only if it has become another thing: by more
# than this, and by more than a tenth.
_DRIFTING = {
    "xenpv.host-delay-ms": 1.0,
    "xenpv.clock-ppm": 2.0,
    "xenpv.transport-us": 100.0,
    "xenpv.callback-us": 5.0,
}
_SHARE = 0.1
DRIFTING_SEC = 10.0


class Shown:
    """What a node tells, and since when. Each change of it wakes the daemon, the session manager
    and every mixer."""

    def __init__(self) -> None:
        self._figures: dict[str, str] = {}
        self._told_sec = 0.0

    def is_news(self, figures: Mapping[str, str], now_sec: float) -> bool:
        """Whether to tell these now; they are what is shown then."""
        changed = [key for key, text in figures.items() if self._figures.get(key) != text]
        news = any(key not in _DRIFTING or key not in self._figures for key in changed)
        if not news and now_sec - self._told_sec >= DRIFTING_SEC:
            news = any(self._moved(key, figures[key]) for key in changed)
        if news:
            self._figures, self._told_sec = dict(figures), now_sec
        return news

    def _moved(self, key: str, text: str) -> bool:
        before, now = float(self._figures[key]), float(text)
        return abs(now - before) > max(_DRIFTING[key], _SHARE * abs(before))
