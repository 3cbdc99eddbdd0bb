"""The volume extension's event as a value (packaging/doc/volume-extension.md): what the host made
of a stream's volume. Pure; any thread.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from xenpvaudio.errors import PeerProtocolError
from xenpvaudio_native import header

from .layout import Layout

EVENT_TYPE = header.value("XPA_EVT_VOLUME")
VOLUME_CHANGED = header.value("XPA_VOLUME_CHANGED")
MUTE_CHANGED = header.value("XPA_MUTE_CHANGED")
MAX_CHANNELS = header.value("XPA_VOLUME_EXT_CHANNELS")
"""Streams of more channels are not told of."""

_HEAD = Layout("xensnd_evt", {"type": "type"})
_PLACE = header.offset("xensnd_evt", "op.cur_pos")
_EXT = Layout(
    "xpa_volume_ext", {name: name for name in ("changed", "silenced", "channels", "muted")}
)
_VOLUMES_PLACE = header.offset("xpa_volume_ext", "volumes")
_VOLUMES = struct.Struct(f"={MAX_CHANNELS}i")


@dataclass(frozen=True, slots=True)
class VolumeEvent:
    """`changed`: VOLUME_CHANGED, MUTE_CHANGED, both or neither: what the host did. `silenced`: by
    an order of the host's, whatever `muted` says. `steps`: of 0.001 dB, one a channel, as many as
    `muted`; at most MAX_CHANNELS."""

    changed: int
    silenced: bool
    steps: tuple[int, ...]
    muted: tuple[bool, ...]

    def pack(self) -> bytes:
        ext = _EXT.pack(
            {
                "changed": self.changed,
                "silenced": int(self.silenced),
                "channels": len(self.steps),
                "muted": sum(1 << channel for channel, muted in enumerate(self.muted) if muted),
            }
        )
        rest: Sequence[int] = [0] * (MAX_CHANNELS - len(self.steps))
        _VOLUMES.pack_into(ext, _VOLUMES_PLACE, *self.steps, *rest)
        data = _HEAD.pack({"type": EVENT_TYPE})
        data[_PLACE : _PLACE + len(ext)] = ext
        return bytes(data)


def unpack_volume_event(data: bytes) -> VolumeEvent:
    """A copied event slot. PeerProtocolError: another length or type, or more channels than it has
    room for."""
    if _HEAD.unpack(data)["type"] != EVENT_TYPE:
        raise PeerProtocolError("an event that is none of a volume")
    ext = data[_PLACE : _PLACE + _EXT.size]
    values = _EXT.unpack(ext)
    channels = values["channels"]
    if channels > MAX_CHANNELS:
        raise PeerProtocolError(f"an event with the volumes of {channels} channels")
    steps = _VOLUMES.unpack_from(ext, _VOLUMES_PLACE)[:channels]
    muted = tuple(bool(values["muted"] >> channel & 1) for channel in range(channels))
    changed = values["changed"] & (VOLUME_CHANGED | MUTE_CHANGED)
    return VolumeEvent(changed, values["silenced"] != 0, steps, muted)
