"""The service manager that started this process, told by datagrams: sd_notify(3), in a few lines.

Nothing here raises: a manager that cannot be told costs its own view of us, and no sound.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)


def _address(text: str) -> str:
    """A path, or a name in the abstract namespace, which "@" begins. Empty: none that we know."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


class Notifier:
    """Sends to NOTIFY_SOCKET; without one, nothing."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            # Who waits for a manager that does not read is stuck, and the manager would be right.
            self._socket.setblocking(False)

    @property
    def is_heard(self) -> bool:
        return self._socket is not None

    def tell(self, *lines: str) -> bool:
        """Lines such as READY=1 in one datagram; whether it went out (otherwise try again)."""
        if self._socket is None:
            return False
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("the service manager is not told %s: %s", lines[0], error)
            return False
        return True

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def watchdog_sec(environ: Mapping[str, str] = os.environ) -> float | None:
    """How long the manager waits for a sign of life of this process; None: it does not wait."""
    text = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or int(text) == 0 or (meant and meant != str(os.getpid())):
        return None
    return int(text) / 1e6
