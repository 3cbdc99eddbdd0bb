"""Asks the running halves of this machine by their sockets (control/server.py)."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xenpvaudio.errors import ConfigError, UnavailableError, XenPvAudioError

from .place import HALVES, sockets

PATIENCE_SEC = 5.0
_ERRORS = {error.exit_status: error for error in (ConfigError, UnavailableError)}


def ask(path: Path, question: Mapping[str, Any]) -> Any:
    """OSError if nobody listens there, or may be asked; XenPvAudioError with the half's own words
    if it refuses, or gives no answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_SEC)
        connection.connect(os.fspath(path))
        line = b""
        try:
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline()
        except TimeoutError:
            raise UnavailableError(
                f"{path}: no answer for {PATIENCE_SEC:.0f} s", hint="restart the service"
            ) from None
        except ConnectionError:
            pass  # it hung up
    if not line:
        raise UnavailableError(f"{path}: no answer", hint="try again: others may be asking, too")
    answer = json.loads(line)
    if "error" in answer:
        raise _ERRORS.get(answer.get("exit_status", 1), XenPvAudioError)(answer["error"])
    return answer["answer"]


def ask_all(
    question: Mapping[str, Any], environ: Mapping[str, str] = os.environ, half: str = ""
) -> list[Any]:
    """The answers of every half that runs here, or of every one of this kind. UnavailableError if
    there is none."""
    answers, refused = [], ""
    for kind in (half,) if half else HALVES:
        for path in sockets(kind, environ):
            try:
                answers.append(ask(path, question))
            except PermissionError:
                refused = str(path)
            except OSError:
                pass  # a dead one's
    if answers:
        return answers
    if refused:
        raise UnavailableError(
            f"may not ask {refused}", hint="ask as the user that runs it, or as root"
        )
    what = f"no {half}" if half else "neither half of Xen PV Audio"
    raise UnavailableError(
        f"{what} runs here", hint=f"start it: systemctl --user start xen-pv-audio-{half or 'NAME'}"
    )
