"""XenStore work that both halves do for a vsnd device: read a subtree, write a state. No sound."""

from __future__ import annotations

from collections.abc import Mapping

from xenpvaudio.errors import ConfigError
from xenpvaudio.logs.quoting import quote
from xenpvaudio.xen.api import Nodes, NotFoundError, Txn, XenStore

from .states import STATE, XenbusState

# card / device / stream: nothing of sndif lies deeper.
MAX_DEPTH = 3
# A guest can create nodes up to its quota; a card has a few hundred at the very most.
MAX_NODES = 4096


def read_tree(reader: Nodes, path: str) -> dict[str, str]:
    """All nodes below `path` down to a stream's, by relative path. Nodes that vanish meanwhile
    are left out; at most MAX_NODES are read."""
    found: dict[str, str] = {}

    def walk(prefix: str, depth: int) -> None:
        try:
            names = sorted(reader.list(f"{path}/{prefix}".rstrip("/")))
        except NotFoundError:
            return
        for name in names:
            if len(found) >= MAX_NODES:
                return
            relative = f"{prefix}{name}"
            try:
                found[relative] = reader.read(f"{path}/{relative}")
            except NotFoundError:
                continue
            if name.isdigit() and depth < MAX_DEPTH:
                walk(f"{relative}/", depth + 1)

    walk("", 1)
    return found


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
