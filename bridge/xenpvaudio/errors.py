"""Errors that say whose fault it is; nothing else lives here.

Each class carries the exit status the command line ends with. `str()` is always one line,
"message; hint", so that a user never needs a traceback to know what to do, and has no control
characters, whoever wrote what it tells of.
"""

from __future__ import annotations

from .logs.quoting import printable


class XenPvAudioError(Exception):
    """Base of every error this project raises on purpose; `message` names the thing."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        return printable(" ".join(text.split()))


class ConfigError(XenPvAudioError):
    """Wrong or contradictory XenStore or configuration content, or wrong usage."""

    exit_status = 2


class UnavailableError(XenPvAudioError):
    """No Xen, no PipeWire or no XenStore here."""

    exit_status = 3


class ProtocolError(XenPvAudioError):
    """The rules of sndif or xenbus were broken by one of the two ends."""


class PeerProtocolError(ProtocolError):
    """The peer broke sndif or xenbus: costs that peer its device and nobody else anything."""


class LocalProtocolError(ProtocolError):
    """We were about to break sndif or xenbus: a bug in this program."""


class InternalError(XenPvAudioError):
    """Something that this program did not foresee: a bug, or a system call that failed in a way
    that nobody thought of. Costs the stream or device where it happened, and nobody else."""


def internal_error(where: str, error: BaseException) -> InternalError:
    """`error` in one line that names the place in the code, for the user and for a bug report."""
    place, step = "", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename.rpartition("/")[2]
        place, step = f" at {file}:{step.tb_lineno}", step.tb_next
    text = str(error) or type(error).__name__
    return InternalError(
        f"{where}: unexpected {type(error).__name__}: {text}{place}", hint="please report this"
    )


class PeerGoneError(XenPvAudioError):
    """A stale grant reference or a domain that vanished: not an offence, wait for the peer."""
