"""XenStore work that both halves do for a vsnd device: read a subtree, write a state. No sound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from xenpvaudio.errors import ConfigError
from xenpvaudio.logs.quoting import quote
from xenpvaudio.sndif.card import MAX_DEVICES, MAX_STREAMS
from xenpvaudio.sndif.codes import (
    FEATURE_LIVENESS_EXT,
    FEATURE_POSITION_EXT,
    FEATURE_VOLUME_EXT,
    Key,
)
from xenpvaudio.xen.api import Nodes, NotFoundError, Txn, XenStore

from .states import STATE, XenbusState

# card / device / stream: nothing of sndif lies deeper.
MAX_DEPTH = 3
# The names in a card's directories, and the bytes of its values, of a guest that says all it can
# for each of its streams: what is more is no card.
MAX_NODES_PER_STREAM = 16
MAX_OTHER_NODES = 64 + 8 * MAX_DEVICES
MAX_BYTES = 256 * 1024
# After so many requests others have their turn.
TURN_REQUESTS = 32

_FEATURES = (FEATURE_POSITION_EXT, FEATURE_LIVENESS_EXT, FEATURE_VOLUME_EXT)
_KNOWN = frozenset((STATE, *Key, *_FEATURES))

Spend = Callable[[int], None]
"""Told how many requests were made."""


def most_nodes(streams: int) -> int:
    """How many names the directories of a card with `streams` streams may hold."""
    return MAX_OTHER_NODES + MAX_NODES_PER_STREAM * streams


class _Asker:
    """Reads for one device, a few requests at a time."""

    def __init__(self, reader: Nodes, path: str, spend: Spend) -> None:
        self._reader = reader
        self._path = path
        self._spend = spend
        self._asked = 0

    async def _turn(self) -> None:
        self._spend(1)
        self._asked += 1
        if self._asked % TURN_REQUESTS == 0:
            await asyncio.sleep(0)

    async def get(self, relative: str) -> str | None:
        await self._turn()
        return self._reader.get(f"{self._path}/{relative}")

    async def list(self, relative: str) -> list[str]:
        await self._turn()
        try:
            return sorted(self._reader.list(f"{self._path}/{relative}".rstrip("/")))
        except NotFoundError:
            return []


async def read_tree(
    reader: Nodes, path: str, spend: Spend, limit: int = most_nodes(MAX_DEVICES * MAX_STREAMS)
) -> dict[str, str]:
    """sndif's nodes below `path`, by relative path, and "" for each directory with a number. Nodes
    that vanish meanwhile are left out, and those of others are not read. ConfigError if there are
    more than `limit` nodes, or more than MAX_BYTES in those that are read."""
    asker = _Asker(reader, path, spend)
    found: dict[str, str] = {}
    seen = size_bytes = 0

    async def walk(prefix: str, depth: int) -> None:
        nonlocal seen, size_bytes
        names = await asker.list(prefix)
        seen += len(names)
        if seen > limit:
            raise ConfigError(f"{path} has more than {limit} nodes", hint="no sound card has")
        for name in names:
            relative = f"{prefix}{name}"
            if depth < MAX_DEPTH and _is_index(name):
                found[relative] = ""
                await walk(f"{relative}/", depth + 1)
            elif name in _KNOWN and (value := await asker.get(relative)) is not None:
                found[relative] = value
                size_bytes += len(value)
                if size_bytes > MAX_BYTES:
                    raise ConfigError(f"{path} has values of more than {MAX_BYTES} bytes")

    await walk("", 1)
    return found


async def read_nodes(
    reader: Nodes, path: str, names: Iterable[str], spend: Spend
) -> dict[str, str]:
    """The nodes `names` below `path`, those that are there."""
    asker = _Asker(reader, path, spend)
    found = {}
    for name in names:
        if (value := await asker.get(name)) is not None:
            found[name] = value
    return found


def _is_index(name: str) -> bool:
    """Of a device or stream that a card may have, or of the first that it may not."""
    return (
        name.isascii()
        and name.isdecimal()
        and len(name) <= 2
        and str(int(name)) == name
        and int(name) <= max(MAX_DEVICES, MAX_STREAMS)
    )


def write_nodes(store: XenStore, directory: str, nodes: Mapping[str, str]) -> bool:
    """Writes into a device's directory if the device is still there: a removed one must not come
    back to life as a few lone nodes. False if it was gone."""

    def write(tx: Txn) -> bool:
        if not tx.exists(f"{directory}/{STATE}"):
            return False
        for name, value in nodes.items():
            tx.write(f"{directory}/{name}", value)
        return True

    return store.transact(write)


def write_state(store: XenStore, directory: str, state: XenbusState) -> bool:
    """As write_nodes(), the state."""
    return write_nodes(store, directory, {STATE: str(int(state))})


def parse_domid(text: str, where: str) -> int:
    """The number of a domain, 0 to 32751 (xen/public/xen.h, DOMID_FIRST_RESERVED); ConfigError
    names the node."""
    if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) < 0x7FF0:
        return int(text)
    raise ConfigError(f"{where} = {quote(text, 32)} is no domain's number")
