"""What an ALSA program is told when it cannot have what it asks for."""

from __future__ import annotations

import errno
import os

from xenpvaudio.errors import ConfigError, InternalError, UnavailableError, XenPvAudioError


class RefusedError(XenPvAudioError):
    """`code`: an errno."""

    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code


def code_of(error: XenPvAudioError) -> int:
    """The errno that comes nearest to it."""
    if isinstance(error, RefusedError):
        return error.code
    if isinstance(error, ConfigError):
        return errno.EINVAL
    if isinstance(error, UnavailableError):
        return errno.ENOMEM
    if isinstance(error, InternalError):
        return errno.EIO
    return errno.ENODEV
