"""PipeWire as this user's programs find it, and our devices in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from xenpvaudio.testbed.graph_dump import metadata, of_kind, parse_dump

from .finding import Finding, ok, wrong
from .machine import Machine

OLDEST = (0, 3, 65)
# What packaging/pipewire lowers PipeWire's own limit for virtual machines to.
LARGEST_MIN_QUANTUM_FRAMES = 256
MOST_DELAY_MSEC = 1000.0
NODE_PREFIX = "xenpv_"
DUMP_SEC = 10.0

Objects = list[dict[str, Any]]


def read_graph(machine: Machine) -> Objects | Finding:
    """What is in the graph, or why that cannot be known."""
    environ = dict(machine.environ)
    try:
        done = subprocess.run(
            ["pw-dump"],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=DUMP_SEC,
        )
        return parse_dump(done.stdout)
    except FileNotFoundError:
        return wrong("pipewire", "pw-dump is missing", "sudo apt-get install pipewire-bin")
    except subprocess.TimeoutExpired:
        told = f"PipeWire does not answer for {DUMP_SEC:.0f} s"
        return wrong("pipewire", told, "systemctl --user restart pipewire")
    except OSError as error:
        return wrong(
            "pipewire",
            f"pw-dump cannot be run: {error.strerror}",
            "sudo apt-get install --reinstall pipewire-bin",
        )
    except ValueError:
        pass
    return _no_runtime_directory(environ) or wrong(
        "pipewire", "no PipeWire answers", "systemctl --user start pipewire"
    )


def _no_runtime_directory(environ: Mapping[str, str]) -> Finding | None:
    """Where PipeWire's socket would be, if that is the fault."""
    folder = environ.get("XDG_RUNTIME_DIR", "")
    if environ.get("PIPEWIRE_RUNTIME_DIR") or (folder and os.access(folder, os.R_OK | os.X_OK)):
        return None
    if not folder:
        what = "XDG_RUNTIME_DIR is not set, so no program finds this user's PipeWire"
    elif os.path.exists(folder):
        what = f"XDG_RUNTIME_DIR is {folder}, where this user may not look"
    else:
        what = f"XDG_RUNTIME_DIR is {folder}, which is not there"
    mend = "over ssh or su: export XDG_RUNTIME_DIR=/run/user/$(id -u)"
    return wrong("pipewire", what, f"run it in the user's own session; {mend}")


def parse_version(text: str) -> tuple[int, ...]:
    """Its leading numbers."""
    numbers: list[int] = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def daemon(objects: Objects) -> Finding:
    version = next((str(t["info"].get("version", "")) for t in of_kind(objects, "Core")), "")
    if version and parse_version(version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return wrong(
            "pipewire",
            f"PipeWire is {version}, older than {oldest}",
            "upgrade PipeWire: Debian 12 and Ubuntu 23.04 have a newer one",
        )
    return ok("pipewire", f"PipeWire {version or 'of an unknown version'}")


def session_manager(objects: Objects) -> Finding:
    """It links programs to devices; it is who keeps the metadata "default"."""
    if metadata(objects, "default") is not None:
        return ok("session-manager", "there is a session manager")
    return wrong(
        "session-manager",
        "there is no session manager: no program is linked to a device",
        "sudo apt-get install wireplumber; systemctl --user start wireplumber",
    )


def pulse_socket(machine: Machine) -> str | None:
    """Where this user's programs look for a PulseAudio server; None: on no socket of a file."""
    runtime = machine.environ.get("XDG_RUNTIME_DIR", "")
    server = machine.environ.get("PULSE_SERVER") or f"unix:{runtime}/pulse/native"
    kind, _, socket = server.rpartition(":")
    return socket if kind == "unix" else None


def pulse(machine: Machine) -> Finding:
    """Browsers and most other programs speak PulseAudio's protocol."""
    socket = pulse_socket(machine)
    if socket is None or machine.exists(socket):
        return ok("pulse", "PulseAudio's programs are served")
    return wrong(
        "pulse",
        "nothing serves PulseAudio's programs (browsers, for one)",
        "sudo apt-get install pipewire-pulse; systemctl --user start pipewire-pulse.socket",
    )


def quantum_rule(objects: Objects) -> Finding:
    settings = metadata(objects, "settings") or {}
    text = str(settings.get("clock.min-quantum", ""))
    frames = int(text) if text.isdecimal() else 0
    if frames <= LARGEST_MIN_QUANTUM_FRAMES:
        return ok("quantum", f"a cycle may be as short as {frames or 'PipeWire takes'} frames")
    return wrong(
        "quantum",
        f"PipeWire takes no cycle below {frames} frames, as it does in virtual machines: all that "
        "is added to every delay",
        "sudo install -D -m 644 -t /etc/pipewire/pipewire.conf.d "
        "packaging/pipewire/pipewire.conf.d/50-xen-pv-audio.conf; systemctl --user restart "
        "pipewire",
    )


def own_nodes(objects: Objects, streams: int) -> Iterator[Finding]:
    """`streams`: how many this guest's cards have."""
    properties = [node["info"]["props"] for node in of_kind(objects, "Node")]
    ours = [p for p in properties if str(p.get("node.name", "")).startswith(NODE_PREFIX)]
    if streams and not ours:
        yield wrong(
            "devices",
            "there is no device Xen PV Audio in PipeWire",
            "systemctl --user restart xen-pv-audio-frontend; what it says: journalctl --user -u "
            "xen-pv-audio-frontend",
        )
    elif len(ours) < streams:
        yield wrong(
            "devices",
            f"{len(ours)} devices Xen PV Audio in PipeWire, the cards have {streams} streams",
            "what the frontend says: journalctl --user -u xen-pv-audio-frontend",
        )
    for node in ours:
        yield _delay(node)


def _delay(node: dict[str, Any]) -> Finding:
    name = node["node.name"]
    state, delay = node.get("xenpv.state"), node.get("xenpv.delay-ms")
    try:
        delay_msec = float(delay) if delay is not None else 0.0
    except (TypeError, ValueError):
        delay_msec = -1.0
    if 0 <= delay_msec <= MOST_DELAY_MSEC:
        told = f"{delay_msec:.1f} ms" if delay is not None else str(state or "not played yet")
        return ok("devices", f"{name}: {told}")
    return wrong(
        "devices",
        f"{name} tells a delay of {delay} ms, which no host has",
        "systemctl --user restart xen-pv-audio-frontend, and in the host the backend",
    )
