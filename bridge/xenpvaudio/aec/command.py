"""`xen-pv-audio aec enable|disable|status`: orders to the running frontend, and the default devices
that applications follow, which are the session's and not the frontend's."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from xenpvaudio.control.client import ask_all
from xenpvaudio.control.machine import Machine
from xenpvaudio.errors import UnavailableError, XenPvAudioError
from xenpvaudio.testbed.graph_dump import metadata, named_node, parse_dump

from .configuration import SINK, SOURCE

# Until the canceller's nodes are there: it may have to wait for the card.
APPEAR_SEC = 20.0
_POLL_SEC = 0.2
_DEFAULTS = {"default.configured.audio.sink": SINK, "default.configured.audio.source": SOURCE}


def run_aec(
    order: str,
    *,
    as_json: bool = False,
    machine: Machine | None = None,
    out: TextIO | None = None,
) -> int:
    """0; of `status` 1 if it is off or does not run."""
    machine, out = machine or Machine(), out or sys.stdout
    environ = machine.environ
    if order == "enable":
        objects = _dump(environ)
        _ask(environ, "enable", before={key: _configured(objects, key) for key in _DEFAULTS})
        _wait_for_nodes(environ)
        for key, name in _DEFAULTS.items():
            _configure(environ, key, name)
    elif order == "disable":
        before = _ask(environ, "disable").get("before") or {}
        objects = _dump(environ)
        for key, name in _DEFAULTS.items():
            if _configured(objects, key) == name:  # else somebody has chosen meanwhile
                _configure(environ, key, str(before.get(key) or ""))
    report = _ask(environ, "status")
    print(json.dumps(report, indent=2) if as_json else _words(report), file=out)
    return 0 if order != "status" or report["running"] else 1


def _words(report: Mapping[str, Any]) -> str:
    if not report["enabled"]:
        return "echo cancellation is off"
    if not report["running"]:
        why = f": {report['last_error']}" if report["last_error"] else ""
        return f"echo cancellation is on and waits for a card{why}"
    delay_msec = 1000 * report["play_delay_frames"] / report["rate_hz"]
    return (
        f"echo cancellation is on: {report['sink']} and {report['source']} before "
        f"{report['card_sink']} and {report['card_source']}, delay {delay_msec:.1f} ms"
    )


def _ask(environ: Mapping[str, str], order: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = ask_all({"ask": "aec", "order": order, **more}, environ, "frontend")[0]
    return found


def _wait_for_nodes(environ: Mapping[str, str]) -> None:
    deadline = time.monotonic() + APPEAR_SEC
    while not all(named_node(_dump(environ), name) for name in (SINK, SOURCE)):
        if time.monotonic() > deadline:
            report = _ask(environ, "status")
            raise XenPvAudioError(
                f"the canceller does not appear: {report['last_error'] or 'there is no card'}",
                hint="`xen-pv-audio doctor` looks for what is missing; it is tried again",
            )
        time.sleep(_POLL_SEC)  # pw-dump tells no one when a node comes


def _no_daemon() -> UnavailableError:
    return UnavailableError(
        "no PipeWire daemon answers here",
        hint="systemctl --user start pipewire; `xen-pv-audio doctor` says what else is missing",
    )


def _program(environ: Mapping[str, str], *command: str) -> str:
    try:
        done = subprocess.run(
            command, env=dict(environ), capture_output=True, text=True, check=False, timeout=10
        )
    except FileNotFoundError:
        raise UnavailableError(
            f"{command[0]} is missing", hint="apt install pipewire-bin"
        ) from None
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode:
        raise _no_daemon()
    return done.stdout


def _dump(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    try:
        return parse_dump(_program(environ, "pw-dump"))
    except ValueError:
        raise _no_daemon() from None


def _configured(objects: list[dict[str, Any]], key: str) -> str:
    """The device that the user has chosen; empty if none."""
    value = (metadata(objects, "default") or {}).get(key)
    return str(value.get("name", "")) if isinstance(value, dict) else ""


def _configure(environ: Mapping[str, str], key: str, name: str) -> None:
    if name:
        value = json.dumps({"name": name})
        _program(environ, "pw-metadata", "0", key, value, "Spa:String:JSON")
    else:
        _program(environ, "pw-metadata", "-d", "0", key)
