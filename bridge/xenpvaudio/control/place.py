"""Where a half keeps what only its user may touch: its lock, and the socket that it is asked by."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from xenpvaudio.xen.connect import SIM_VARIABLE

HALVES = ("frontend", "backend")
RUN = Path("/run")
_PREFIX, _SUFFIX = "xen-pv-audio-", ".sock"


def runtime_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """This user's; a simulation's own, so that several on one machine do not meet."""
    simulation = environ.get(SIM_VARIABLE, "").rpartition(":")[0]
    if simulation:
        return Path(simulation)
    if os.geteuid() == 0 and RUN.is_dir():
        return RUN
    return Path(environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())


def socket_path(half: str, domid: int, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the half of this domain listens."""
    return runtime_directory(environ) / f"{_PREFIX}{half}-{domid}{_SUFFIX}"


def alsa_socket_path(domid: int, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the frontend listens to ALSA programs, whose plugin knows no domain."""
    number = f"-{domid}" if environ.get(SIM_VARIABLE) else ""
    return runtime_directory(environ) / f"{_PREFIX}alsa{number}{_SUFFIX}"


def state_file(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """What outlives this user's processes: where systemd says, or where such things are."""
    if directory := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(directory) / name
    if environ.get(SIM_VARIABLE):
        return runtime_directory(environ) / name
    if os.geteuid() == 0:
        return Path("/var/lib/xen-pv-audio") / name
    home = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME", "/"), ".local/state")
    return Path(home) / "xen-pv-audio" / name


def system_directory(half: str) -> Path:
    """RuntimeDirectory= of the system's unit of this half: there while that runs, for root."""
    return RUN / f"{_PREFIX}{half}"


def sockets(half: str, environ: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Those of this half that may be asked; that one lies there does not mean that it listens.
    Root asks every user's, and the system unit's."""
    directories = [runtime_directory(environ)]
    domid = environ.get(SIM_VARIABLE, "").rpartition(":")[2] or "*"
    if os.geteuid() == 0 and not environ.get(SIM_VARIABLE):
        directories += sorted((RUN / "user").glob("[0-9]*"))
        directories.append(system_directory(half))
    for directory in directories:
        yield from sorted(directory.glob(f"{_PREFIX}{half}-{domid}{_SUFFIX}"))
