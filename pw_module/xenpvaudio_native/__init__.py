"""The compiled half's Python face: the only package that imports `_native`.

Importing it raises UnavailableError, with one line that says what to do, where the extension was
not built or PipeWire's client library is not installed.
"""

from __future__ import annotations

from xenpvaudio.errors import UnavailableError

try:
    from ._native import ffi, lib
except ImportError as error:
    if "libpipewire" in str(error):
        raise UnavailableError(
            "PipeWire's client library libpipewire-0.3.so.0 is missing",
            hint="apt install libpipewire-0.3-0",
        ) from None
    raise UnavailableError(
        f"the compiled part of xen-pv-audio cannot be loaded ({error})",
        hint="build it with `make setup`, or `pip install .`",
    ) from None

__all__ = ["ffi", "lib"]
