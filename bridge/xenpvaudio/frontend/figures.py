"""What a node's properties tell of its stream, for pw-cli and `pactl list`. Pure."""

from __future__ import annotations

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
