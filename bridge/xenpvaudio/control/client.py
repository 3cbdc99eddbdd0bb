"""Asks the running halves of this machine by their sockets (control/server.py)."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xenpvaudio.errors import ConfigError, UnavailableError, XenPvAudioError

from .nobody import why_nobody_answers
from .place import HALVES, sockets

PATIENCE_SEC = 5.0
# A card has 256 streams at the most.
MOST_BYTES = 1 << 22
MOST_PAGES = 1024
_ERRORS = {error.exit_status: error for error in (ConfigError, UnavailableError)}


def ask(path: Path, question: Mapping[str, Any]) -> Any:
    """OSError if nobody listens there, or may be asked; XenPvAudioError with the half's own words
    if it refuses, or gives no answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_SEC)
        try:
            connection.connect(os.fspath(path))
        except BlockingIOError:  # it takes no more of them: it answers none
            raise UnavailableError(
                f"{path}: no answer, and others wait for one, too", hint="restart the service"
            ) from None
        line = b""
        try:
            connection.sendall(json.dumps(question).encode() + b"\n")
            line = _line(connection)
        except TimeoutError:
            raise UnavailableError(
                f"{path}: no answer within {PATIENCE_SEC:g} s", hint="restart the service"
            ) from None
        except ConnectionError:
            pass  # it hung up: there is no line, which is told below
    if not line:
        raise UnavailableError(f"{path}: no answer", hint="try again: others may be asking, too")
    try:
        answer = json.loads(line)
        if "answer" in answer:
            return answer["answer"]
        error = _ERRORS.get(answer.get("exit_status", 1), XenPvAudioError)(str(answer["error"]))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        error = UnavailableError(f"{path}: the answer is none", hint="restart the service")
    raise error


def _line(connection: socket.socket) -> bytes:
    """The line as a whole within the time, however slowly its bytes come; what there is of it, if
    the other side ends it early or it is too long."""
    line = bytearray()
    deadline = time.monotonic() + PATIENCE_SEC
    while not line.endswith(b"\n") and len(line) < MOST_BYTES:
        if (left := deadline - time.monotonic()) <= 0:
            raise TimeoutError
        connection.settimeout(left)
        if not (some := connection.recv(1 << 16)):
            break
        line += some
    return bytes(line)


def status(path: Path) -> Any:
    """What the half there reports, of all its cards, whatever they have: page by page
    (engine/report.py). Errors as ask()."""
    whole: Any = {}
    after = None
    for _ in range(MOST_PAGES):
        page = ask(path, {"ask": "status", "after": after})
        try:
            after = page.pop("more", None)
            whole = page | {"cards": whole.get("cards", []) + page["cards"]}
        except (TypeError, LookupError, AttributeError):
            raise UnavailableError(
                f"{path}: the answer is none", hint="restart the service"
            ) from None
        if after is None:
            return whole
    raise UnavailableError(f"{path}: the answer has no end", hint="restart the service")


def _may_be_believed(path: Path) -> bool:
    """Where there is no XDG_RUNTIME_DIR anybody can put a socket there; root asks everybody's."""
    return os.geteuid() in (0, path.lstat().st_uid)


def ask_all(
    question: Mapping[str, Any], environ: Mapping[str, str] = os.environ, half: str = ""
) -> list[Any]:
    """The answers of every half that runs here, or of every one of this kind. UnavailableError if
    there is none."""
    return _all(lambda path: ask(path, question), environ, half)


def status_all(environ: Mapping[str, str] = os.environ, half: str = "") -> list[Any]:
    """The same of what they report."""
    return _all(status, environ, half)


def _all(asked: Callable[[Path], Any], environ: Mapping[str, str], half: str) -> list[Any]:
    answers, refused = [], ""
    for kind in (half,) if half else HALVES:
        for path in sockets(kind, environ):
            try:
                if _may_be_believed(path):
                    answers.append(asked(path))
            except PermissionError:
                refused = str(path)
            except OSError:
                pass  # nobody listens: its process died without removing it
    if answers:
        return answers
    raise why_nobody_answers(half, refused, environ)
