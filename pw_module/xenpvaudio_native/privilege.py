"""Giving up rights that this process does not need (pw_module/src/base/privilege.c).

For the first thread while it is the only one.
"""

from __future__ import annotations

import os

from xenpvaudio.errors import UnavailableError

from . import lib


def drop_privileges() -> None:
    """Of this process and all that it starts: every capability but CAP_SYS_NICE, the right to gain
    one by a program's file, and (from Linux 6.3) memory that is both written and run."""
    result = lib.xpa_drop_privileges()
    if result < 0:
        raise UnavailableError(f"cannot give up privileges: {os.strerror(-result)}")
