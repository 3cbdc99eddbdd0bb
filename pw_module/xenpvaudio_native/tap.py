"""Tap: what a stream's host got, or gave, for recordings."""

from __future__ import annotations

from xenpvaudio.errors import UnavailableError

from . import ffi, lib


class Tap:
    """Bytes of what a host got from a stream (or gave to it), for recordings."""

    def __init__(self, capacity_bytes: int = 1 << 22) -> None:
        self.handle = lib.xpa_tap_new(capacity_bytes)
        if self.handle == ffi.NULL:
            raise UnavailableError("no memory for a recording")
        self._room = ffi.new("uint8_t[]", 1 << 16)

    def read(self) -> bytes:
        parts = []
        while n := lib.xpa_tap_read(self.handle, self._room, len(self._room)):
            parts.append(bytes(ffi.buffer(self._room, n)))
        return b"".join(parts)

    @property
    def dropped_bytes(self) -> int:
        return int(lib.xpa_tap_dropped_bytes(self.handle))

    def free(self) -> None:
        """After the stream that it was set on is detached."""
        if self.handle != ffi.NULL:
            lib.xpa_tap_free(self.handle)
            self.handle = ffi.NULL
