"""One frontend or backend a domain: a lock that the kernel gives back when we die.

Where there is no XDG_RUNTIME_DIR its file lies in a directory that others write to as well. What
lies there under its name is used only if it is a plain file of ours under this one name: neither a
link, which could lead to any file of ours, nor what another user has left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from .control.place import runtime_directory
from .errors import UnavailableError

# O_NONBLOCK: a FIFO that lies there must not stop us.
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class InstanceLock:
    """UnavailableError if another process holds it for this domain, or it cannot be made."""

    def __init__(self, role: str, domid: int) -> None:
        self._fd = _open(runtime_directory() / f"xen-pv-audio-{role}-{domid}.lock")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._fd, 32).decode(errors="replace").strip()
            os.close(self._fd)
            raise UnavailableError(
                f"a {role} is running already for this domain (process {holder or '?'})",
                hint="stop that one first",
            ) from None
        os.ftruncate(self._fd, 0)
        os.write(self._fd, str(os.getpid()).encode())

    def release(self) -> None:
        os.close(self._fd)


def _open(path: Path) -> int:
    try:
        fd = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _not_ours(path, "a link") from None
        raise UnavailableError(
            f"cannot make {path}: {error.strerror}", hint="run as root or set XDG_RUNTIME_DIR"
        ) from None
    found = os.fstat(fd)
    what = ""
    if not stat.S_ISREG(found.st_mode):
        what = "no plain file"
    elif found.st_uid != os.geteuid():
        what = "a file of another user"
    elif found.st_nlink != 1:
        what = "a file that has another name too"
    if what:
        os.close(fd)
        raise _not_ours(path, what)
    return fd


def _not_ours(path: Path, what: str) -> UnavailableError:
    return UnavailableError(
        f"{path} is {what}, not our lock file",
        hint="remove it, or set XDG_RUNTIME_DIR to a directory of your own",
    )
