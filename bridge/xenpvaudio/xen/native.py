"""The way to the compiled code (pw_module/src/xen/xen_io.c), loaded at first use.

So the package imports on a machine where the extension was not built.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any


@cache
def native() -> tuple[Any, Any]:
    """(ffi, lib) of the extension; UnavailableError, saying what to do, if it cannot be loaded."""
    from xenpvaudio_native import ffi, lib

    return ffi, lib


def check(result: int) -> int:
    """Raises OSError for a negative errno, else passes the result on."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result
