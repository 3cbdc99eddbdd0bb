"""This machine and its user, as far as files and the kernel tell. Reads, changes nothing."""

from __future__ import annotations

import os
import pwd
import resource
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xenpvaudio.xen.connect import SIM_VARIABLE

GROUP = "xen-audio"
"""Whose members may open Xen's devices (packaging/udev)."""


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


@dataclass(frozen=True, slots=True)
class User:
    """Who asks: what this process may, which is not always what the user's groups would let it."""

    name: str = field(default_factory=_user_name)
    uid: int = field(default_factory=os.geteuid)
    gids: frozenset[int] = field(default_factory=lambda: frozenset((os.getegid(), *os.getgroups())))
    rtprio: int = field(default_factory=lambda: resource.getrlimit(resource.RLIMIT_RTPRIO)[0])
    """The highest real-time priority that it may take; -1: any."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`root`: the directory that its files are below."""

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    user: User = field(default_factory=User)

    @property
    def is_simulated(self) -> bool:
        return bool(self.environ.get(SIM_VARIABLE))

    @property
    def is_host(self) -> bool:
        """Whether this domain starts others; a driver domain does not."""
        if self.is_simulated:
            return self.environ[SIM_VARIABLE].endswith(":0")
        return "control_d" in self.text("proc/xen/capabilities")

    def path(self, name: str) -> Path:
        return self.root / name

    def exists(self, name: str) -> bool:
        """False also where this user may not look."""
        return os.path.exists(self.path(name))

    def text(self, name: str) -> str:
        """A file's text; empty if it cannot be read."""
        try:
            return self.path(name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def modules(self) -> frozenset[str]:
        """Those of the kernel that are loaded, not those that are built in."""
        return frozenset(line.split()[0] for line in self.text("proc/modules").splitlines() if line)

    def group(self) -> tuple[int, frozenset[str]] | None:
        """The group's number and members, by the file alone; None if there is none."""
        for line in self.text("etc/group").splitlines():
            name, _, rest = line.partition(":")
            fields = rest.split(":")
            if name == GROUP and len(fields) >= 3 and fields[1].isdecimal():
                return int(fields[1]), frozenset(filter(None, fields[2].split(",")))
        return None

    def may_open(self, name: str) -> bool:
        """For reading and writing, by the file's mode. FileNotFoundError if it is not there."""
        found = self.path(name).stat()
        if self.user.uid == 0:
            return True
        read_write = stat.S_IRUSR | stat.S_IWUSR
        if found.st_uid == self.user.uid:
            wanted = read_write
        elif found.st_gid in self.user.gids:
            wanted = read_write >> 3
        else:
            wanted = read_write >> 6
        return found.st_mode & wanted == wanted
