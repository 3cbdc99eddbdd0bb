"""The socket that a running half is asked by: a line of JSON is a question, a line the answer.

    {"ask": "status"}                        {"answer": {...}}
    {"ask": "microphone", "domain": "work"}  {"error": "..."}

A socket and not the node's properties, since not every output is a PipeWire node, and orders need a
way in. It is the user's alone: mode 0600 from its first moment on, so that only this user and root
can connect; nothing listens on a network. What one asker costs is bounded: a line's length, a few
seconds, and a few askers at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from xenpvaudio.errors import ConfigError, XenPvAudioError, internal_error

log = logging.getLogger(__name__)

MOST_BYTES = 4096
MOST_ASKERS = 8
PATIENCE_SEC = 5.0

Answer = Callable[[dict[str, Any], int], Any]
"""From the question and the asker's user number to what JSON can say. ConfigError: a wrong one."""


def _bound(path: Path) -> socket.socket:
    """OSError if the name is taken by what is no socket of ours. The instance lock is held, so a
    socket that lies there is a dead one's."""
    with suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid():
            path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _user_of(connection: socket.socket) -> int:
    """As the kernel says it; 65534 for one that has no number in this process's user namespace."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[1])


class ControlServer:
    """Answers at `path` from start() to close(), on the event loop's thread."""

    def __init__(self, path: Path, answers: Mapping[str, Answer]) -> None:
        self.path = path
        self._answers = answers
        self._server: asyncio.Server | None = None
        self._askers = 0

    async def start(self) -> None:
        """Without it sound goes on all the same: what is in the way is one line of the log."""
        try:
            listener = _bound(self.path)
        except OSError as error:
            log.warning(
                "cannot listen at %s: %s; `xen-pv-audio status` will not find this process",
                self.path,
                error.strerror or error,
            )
            return
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listener, limit=MOST_BYTES, backlog=MOST_ASKERS
        )

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._askers += 1
        try:
            if self._askers <= MOST_ASKERS:
                async with asyncio.timeout(PATIENCE_SEC):
                    await self._serve_one(reader, writer)
        except (TimeoutError, ValueError, OSError):
            pass  # too slow, too long, or gone: nobody is there to be told
        finally:
            self._askers -= 1
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user = _user_of(writer.get_extra_info("socket"))
        line = await reader.readline()
        if line:
            writer.write(json.dumps(self._answered(line, user)).encode() + b"\n")
            await writer.drain()

    def _answered(self, line: bytes, user: int) -> dict[str, Any]:
        try:
            question = json.loads(line)
            if not isinstance(question, dict) or str(question.get("ask")) not in self._answers:
                raise ConfigError(
                    "the question is not understood",
                    hint="command and service are of different versions: restart the service",
                )
            return {"answer": self._answers[str(question["ask"])](question, user)}
        except XenPvAudioError as error:
            return {"error": str(error), "exit_status": error.exit_status}
        except (ValueError, RecursionError):
            return {"error": "the question is no JSON", "exit_status": ConfigError.exit_status}
        except Exception as error:
            log.debug("the control socket", exc_info=True)
            return {"error": str(internal_error("control socket", error)), "exit_status": 1}
