"""Where the members of a C structure are, as the compiler says; packs and unpacks them. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from xenpvaudio.errors import LocalProtocolError, PeerProtocolError
from xenpvaudio_native import header

_UNSIGNED = {1: "=B", 2: "=H", 4: "=I", 8: "=Q"}


class Layout:
    """Where the named members of one C structure are; shared memory is in the CPU's byte order."""

    def __init__(self, name: str, members: Mapping[str, str], signed: str = "") -> None:
        self.size = header.sizeof(name)
        self.name = name
        self._codecs: dict[str, tuple[int, struct.Struct]] = {}
        for attribute, member in members.items():
            code = _UNSIGNED[header.size(name, member)]
            code = code.lower() if attribute == signed else code
            self._codecs[attribute] = (header.offset(name, member), struct.Struct(code))

    def pack(self, values: Mapping[str, int]) -> bytearray:
        """A packet with these members, all other bytes zero."""
        data = bytearray(self.size)
        for attribute, number in values.items():
            place, codec = self._codecs[attribute]
            try:
                codec.pack_into(data, place, number)
            except struct.error:
                raise LocalProtocolError(
                    f"{attribute} {number} does not fit into struct {self.name}"
                ) from None
        return data

    def unpack(self, data: bytes) -> dict[str, int]:
        if len(data) != self.size:
            raise PeerProtocolError(f"struct {self.name} of {len(data)} bytes, not {self.size}")
        return {
            attribute: codec.unpack_from(data, place)[0]
            for attribute, (place, codec) in self._codecs.items()
        }
