"""One frontend or backend a domain: locks that the kernel gives back when we die.

InstanceLock is of one user, and its file holds the process. Where there is no XDG_RUNTIME_DIR that
file lies in a directory that others write to as well. What lies there under its name is used only
if it is a plain file of ours under this one name: neither a link, which could lead to any file of
ours, nor what another user has left. DomainLock is of all users of the domain.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from .control.place import runtime_directory
from .errors import UnavailableError

LOCKS = Path("/proc/locks")
"""proc(5): among others "N: FLOCK ADVISORY WRITE process major:minor:inode 0 EOF"."""

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


class DomainLock:
    """Of the whole domain: another user's half, or the system unit's, has its own InstanceLock.

    `path` is the Xen device that no half of this kind can work without (xen/connect.py): whoever
    may run one may open it, and they share nothing else. One that cannot be opened is not locked;
    the half says itself what it lacks. `make`: for a file that stands in for the device.
    """

    def __init__(self, path: Path, *, make: bool = False) -> None:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        try:
            self._fd: int | None = os.open(path, flags | (os.O_CREAT if make else 0), 0o600)
        except OSError:
            self._fd = None

    def take(self) -> bool:
        """Whether it is ours now."""
        if self._fd is None:
            return True
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def holder(self) -> str:
        """The number of the process that has it; "?" where the kernel does not show that here."""
        if self._fd is None:
            return "?"
        found = os.fstat(self._fd)
        device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
        try:
            lines = [line.split() for line in LOCKS.read_text().splitlines()]
        except OSError:
            return "?"
        held = (line[4] for line in lines if line[5:6] == [f"{device}:{found.st_ino}"])
        return next((number for number in held if number.isdecimal() and number != "0"), "?")

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


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
