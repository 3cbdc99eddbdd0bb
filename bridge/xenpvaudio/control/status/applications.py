"""Who plays to our nodes and records from them, by the sound server's own list (pulsectl)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec


def applications(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of applications, by the node that they play to or record from. Empty where no sound
    server answers: status has the rest to tell all the same."""
    found: dict[str, list[str]] = {}
    if find_spec("pulsectl") is None:
        return found
    import pulsectl

    server = environ.get("PULSE_SERVER") or _server(environ)
    try:
        with pulsectl.Pulse("xen-pv-audio status", server=server, connect=False) as pulse:
            pulse.connect(autospawn=False, wait=False)
            sinks = {sink.index: sink.name for sink in pulse.sink_list()}
            sources = {source.index: source.name for source in pulse.source_list()}
            players = [(sinks.get(each.sink), each) for each in pulse.sink_input_list()]
            recorders = [(sources.get(each.source), each) for each in pulse.source_output_list()]
    except pulsectl.PulseError:
        return found
    for node, stream in players + recorders:
        name = stream.proplist.get("application.name") or stream.name or "?"
        if node:
            found.setdefault(node, []).append(name)
    return found


def _server(environ: Mapping[str, str]) -> str | None:
    """libpulse looks into this process's environment only."""
    directory = environ.get("PULSE_RUNTIME_PATH") or environ.get("XDG_RUNTIME_DIR", "")
    return f"unix:{directory}/pulse/native" if directory else None
