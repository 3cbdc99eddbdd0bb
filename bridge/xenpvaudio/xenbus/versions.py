"""Which version of sndif both ends speak, by the nodes `versions` and `version`. Pure."""

from __future__ import annotations

from xenpvaudio.errors import PeerProtocolError
from xenpvaudio.logs.quoting import quote
from xenpvaudio.sndif.codes import LIST_SEPARATOR, PROTOCOL_VERSION

OFFERED_VERSIONS = str(PROTOCOL_VERSION)


def choose_version(versions: str | None) -> int:
    """The frontend's choice from the backend's `versions`; a missing node means version 2.

    Neither libxl nor libxenbe nor snd_be writes it. PeerProtocolError: not a list of numbers, or
    nothing in it that we speak (version 1 has neither queries nor position events).
    """
    if versions is None:
        return PROTOCOL_VERSION
    offered = [_version(item.strip(), "versions") for item in versions.split(LIST_SEPARATOR)]
    if PROTOCOL_VERSION not in offered:
        raise PeerProtocolError(
            f"the backend offers sndif version {quote(versions)}, "
            f"this frontend speaks {PROTOCOL_VERSION}"
        )
    return PROTOCOL_VERSION


def check_version(version: str | None) -> int:
    """The backend's check of the frontend's `version`, which is never required: missing means 2."""
    if version is None:
        return PROTOCOL_VERSION
    if _version(version.strip(), "version") != PROTOCOL_VERSION:
        raise PeerProtocolError(
            f"the frontend chose sndif version {quote(version, 32)}, not offered here"
        )
    return PROTOCOL_VERSION


def _version(item: str, node: str) -> int:
    if not (item.isascii() and item.isdecimal() and len(item) < 6):
        raise PeerProtocolError(f"{node}: {quote(item, 32)} is no version")
    return int(item)
