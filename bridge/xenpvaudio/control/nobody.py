"""Why nobody answered: what a person is told when no half was found here, by what is in the way."""

from __future__ import annotations

import os
from collections.abc import Mapping

from xenpvaudio.errors import UnavailableError
from xenpvaudio.xen.connect import SIM_VARIABLE

from . import place

_WHERE = {"frontend": "in a guest", "backend": "on a host"}


def why_nobody_answers(
    half: str, refused: str, environ: Mapping[str, str] = os.environ
) -> UnavailableError:
    """`half`: which one was looked for; empty: either. `refused`: a socket that may not be asked;
    empty if there was none."""
    if refused:
        return UnavailableError(
            f"may not ask {refused}", hint="ask as the user that runs it, or as root"
        )
    if (closed := _closed_directory(half, environ)) is not None:
        return closed
    if half and (other := _other_half(half, environ)):
        return UnavailableError(
            f"no {half} runs here, but a {other}", hint=f"give this order {_WHERE[half]}"
        )
    if half:
        what, start = f"no {half}", f"xen-pv-audio-{half}"
    else:
        what = "neither half of Xen PV Audio"
        start = "xen-pv-audio-frontend in a guest, xen-pv-audio-backend on a host"
    return UnavailableError(f"{what} runs here", hint=f"start it: systemctl --user start {start}")


def _closed_directory(half: str, environ: Mapping[str, str]) -> UnavailableError | None:
    """A place where a half may well be, and this user cannot see it."""
    if os.geteuid() == 0 or environ.get(SIM_VARIABLE):
        return None
    for kind in (half,) if half else place.HALVES:
        if (system := place.system_directory(kind)).exists():
            return UnavailableError(
                f"the {kind} here is a service of the whole system, in {system}",
                hint="ask as root, with sudo",
            )
    session = f"export XDG_RUNTIME_DIR=/run/user/{os.geteuid()}"
    if not environ.get("XDG_RUNTIME_DIR"):
        return UnavailableError(
            "XDG_RUNTIME_DIR is not set, so what runs in this user's session is not found",
            hint=f"over ssh or su: {session}",
        )
    own = place.runtime_directory(environ)
    if own.exists() and not os.access(own, os.R_OK | os.X_OK):
        return UnavailableError(
            f"XDG_RUNTIME_DIR is {own}, where this user may not look", hint=f"after su: {session}"
        )
    return None


def _other_half(half: str, environ: Mapping[str, str]) -> str:
    """The other one, if it seems to run here."""
    (other,) = (kind for kind in place.HALVES if kind != half)
    return other if any(path.is_socket() for path in place.sockets(other, environ)) else ""
