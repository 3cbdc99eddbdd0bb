"""The simulated XenStore's tree: nodes, permissions, quotas, transactions. No I/O.

Rules are those of xenstored 4.17 (docs/misc/xenstore.txt, tools/xenstore/xenstored_core.c). Nodes
are immutable values: a transaction remembers which one it saw at each path, and conflicts if at its
end another one is there. One thread.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

READ, WRITE = 1, 2
LETTERS = "nrwb"
"""Access as a number is the letter's index: none, read, write, both."""

NODES_PER_DOMAIN = 1000
WATCHES_PER_DOMAIN = 128
TRANSACTIONS_PER_DOMAIN = 10
NODE_BYTES = 2048
PERMS_PER_NODE = 5
PATH_BYTES = 2048
"""After "/local/domain/<n>/", where a path starts so."""

_PATH = re.compile(r"/|(/[A-Za-z0-9\-_@]+)+")
_HOME = re.compile(r"/local/domain/\d{1,5}/")


class RefusedError(Exception):
    """The store's answer is an error; `name` is what goes over the wire, like "ENOENT"."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Perm(NamedTuple):
    domid: int
    access: int


Perms = tuple[Perm, ...]


class Node(NamedTuple):
    value: bytes
    perms: Perms
    """The first names the owner, and the access of all who are not listed."""
    children: tuple[str, ...]
    generation: int

    def access(self, domid: int) -> int:
        owner = self.perms[0]
        if domid in (0, owner.domid):
            return READ | WRITE
        return next((p.access for p in self.perms[1:] if p.domid == domid), owner.access)

    def stored_bytes(self) -> int:
        names = sum(len(name) + 1 for name in self.children)
        return 24 + 8 * len(self.perms) + len(self.value) + names


def home(domid: int) -> str:
    return f"/local/domain/{domid}"


def parent_of(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def child_path(path: str, name: str) -> str:
    return f"{path}/{name}" if path != "/" else f"/{name}"


def is_below(path: str, ancestor: str) -> bool:
    """Whether `path` is `ancestor` or below it."""
    return ancestor == "/" or path == ancestor or path.startswith(ancestor + "/")


def absolute(raw: str, domid: int) -> str:
    """The full path, checked (is_valid_nodename)."""
    path = raw if raw.startswith("/") else f"{home(domid)}/{raw}"
    prefix = _HOME.match(path)
    if len(path) > PATH_BYTES + (prefix.end() if prefix else 0) or not _PATH.fullmatch(path):
        raise RefusedError("EINVAL")
    return path


def parse_perms(fields: Iterable[str]) -> Perms:
    perms = []
    for field in fields:
        if field[:1] not in tuple(LETTERS) or not re.fullmatch(r"[0-9]{1,5}", field[1:]):
            raise RefusedError("EINVAL")
        perms.append(Perm(int(field[1:]), LETTERS.index(field[0])))
    return tuple(perms)


class Change(NamedTuple):
    """What watches hear of. `exact`: only a watch of this very path, not those above it (a node
    that went with its parent). `readable`: whether a domain may know, decided as the node was."""

    path: str
    exact: bool
    nodes: tuple[Node | None, ...]

    def readable(self, domid: int) -> bool:
        return any(node and node.access(domid) & READ for node in self.nodes)


class View(Protocol):
    """Where operations read and write: the tree itself, or a transaction on it."""

    def node(self, path: str) -> Node | None: ...
    def peek(self, path: str) -> Node | None:
        """node(), but a transaction does not remember the look."""

    def put(self, path: str, node: Node | None) -> None: ...
    def owned(self, domid: int) -> int: ...
    def next_generation(self) -> int: ...


class Tree:
    """All nodes, by path."""

    def __init__(self) -> None:
        self._generation = 0
        self._nodes: dict[str, Node] = {}
        self._owned: Counter[int] = Counter()
        self.put("/", Node(b"", (Perm(0, 0),), (), 0))
        Access(self, 0).mkdir("/tool/xenstored")

    def node(self, path: str) -> Node | None:
        return self._nodes.get(path)

    peek = node

    def put(self, path: str, node: Node | None) -> None:
        old = self._nodes.pop(path, None)
        if old:
            self._owned[old.perms[0].domid] -= 1
        if node:
            self._nodes[path] = node
            self._owned[node.perms[0].domid] += 1

    def owned(self, domid: int) -> int:
        return self._owned[domid]

    def next_generation(self) -> int:
        self._generation += 1
        return self._generation

    def forget_domain(self, domid: int) -> list[Change]:
        """The domain is gone: so are its nodes, and what others had allowed it."""
        access = Access(self, 0)
        mine = [path for path, node in self._nodes.items() if node.perms[0].domid == domid]
        for path in sorted(mine):
            if self.node(path) and path != "/":  # else: it went with its parent
                access.remove(path)
        for path, node in list(self._nodes.items()):
            rest = tuple(perm for perm in node.perms[1:] if perm.domid != domid)
            if len(rest) + 1 != len(node.perms):
                self.put(path, node._replace(perms=(node.perms[0], *rest)))
        return access.changes


class Transaction:
    """A view that keeps its changes to itself until commit(). The view below it may be another
    transaction: so one operation that fails half-way leaves nothing behind."""

    def __init__(self, below: View) -> None:
        self._below = below
        self._seen: dict[str, Node | None] = {}
        self._changed: dict[str, Node | None] = {}
        self._told: dict[str, bool] = {}
        self.failed = False
        """An operation in it met a quota: it will not be committed (fail_transaction)."""

    def node(self, path: str) -> Node | None:
        if path in self._changed:
            return self._changed[path]
        if path not in self._seen:
            self._seen[path] = self._below.node(path)
        return self._seen[path]

    def peek(self, path: str) -> Node | None:
        if path in self._changed:
            return self._changed[path]
        return self._seen[path] if path in self._seen else self._below.peek(path)

    def put(self, path: str, node: Node | None) -> None:
        self.node(path)  # a blind write conflicts too
        self._changed[path] = node

    def owned(self, domid: int) -> int:
        count = self._below.owned(domid)
        for path, node in self._changed.items():
            old = self._seen[path]
            count += bool(node and node.perms[0].domid == domid)
            count -= bool(old and old.perms[0].domid == domid)
        return count

    def next_generation(self) -> int:
        return self._below.next_generation()

    def tell(self, changes: list[Change]) -> None:
        """Keeps what watches must hear after the end: once for each path."""
        for change in changes:
            self._told[change.path] = change.exact and self._told.get(change.path, True)

    def commit(self) -> list[Change]:
        """Carries it all out; what watches must hear. "EAGAIN": somebody else was faster."""
        if self.failed:
            raise RefusedError("ENOMEM")
        if any(self._below.node(path) is not node for path, node in self._seen.items()):
            raise RefusedError("EAGAIN")
        for path, node in self._changed.items():
            self._below.put(path, node)
        return [
            Change(path, exact, self._witnesses(path))
            for path, exact in self._told.items()
            if self._seen[path] or self.node(path)  # else: came and went, and nobody hears of it
        ]

    def _witnesses(self, path: str) -> tuple[Node | None, ...]:
        now = self.node(path)
        return (self._seen[path], now, self.peek(parent_of(path)) if now else None)


class Access:
    """One domain's operations on a view; `changes` collects what watches must hear."""

    def __init__(self, view: View, domid: int) -> None:
        self._view = view
        self._domid = domid
        self.changes: list[Change] = []

    def node(self, path: str, need: int = READ) -> Node:
        """ENOENT only to those who might see that nothing is there, else EACCES."""
        node = self._view.node(path)
        if node and node.access(self._domid) & need:
            return node
        # xenstored looks at the parent in either case, so a transaction remembers it.
        _path, above = self._nearest(path)
        hidden = node or not above.access(self._domid) & need
        raise RefusedError("EACCES" if hidden else "ENOENT")

    def write(self, path: str, value: bytes) -> None:
        node = self._writable(path)
        if node is None:
            self._create(path, value)
        else:
            self._store(path, node._replace(value=value))
        self._changed(path)

    def mkdir(self, path: str) -> None:
        if self._writable(path) is None:
            self._create(path, b"")
            self._changed(path)

    def remove(self, path: str) -> None:
        node = self._writable(path)
        if node is None:
            if self._view.node(parent_of(path)) is None:
                raise RefusedError("ENOENT")
            return
        if path == "/":
            raise RefusedError("EINVAL")
        for at in self._with_all_below(path):
            self._changed(at, exact=at != path)
            self._view.put(at, None)
        above = self._view.node(parent_of(path))
        assert above is not None
        name = path.rpartition("/")[2]
        rest = tuple(child for child in above.children if child != name)
        self._store(parent_of(path), above._replace(children=rest), limited=False)

    def set_perms(self, path: str, perms: Perms) -> None:
        node = self.node(path, WRITE)
        owner = node.perms[0].domid
        if self._domid not in (0, owner):
            raise RefusedError("EACCES")
        if self._domid != 0 and len(perms) > PERMS_PER_NODE:
            raise RefusedError("ENOSPC")
        if self._domid != 0 and perms[0].domid != owner:
            raise RefusedError("EPERM")
        self._store(path, node._replace(perms=perms))
        self._changed(path, node)

    def _writable(self, path: str) -> Node | None:
        try:
            return self.node(path, WRITE)
        except RefusedError as error:
            if error.name != "ENOENT":
                raise
            return None

    def _nearest(self, path: str) -> tuple[str, Node]:
        """The closest ancestor that exists."""
        while True:
            path = parent_of(path)
            node = self._view.node(path)
            if node:
                return path, node

    def _create(self, path: str, value: bytes) -> None:
        at, above = self._nearest(path)
        names = path[len(at.rstrip("/")) + 1 :].split("/")
        if self._domid and self._view.owned(self._domid) + len(names) > NODES_PER_DOMAIN:
            raise RefusedError("ENOSPC")
        for name in names:
            perms = above.perms
            if self._domid != 0:  # an unprivileged domain owns what it makes
                perms = (Perm(self._domid, perms[0].access), *perms[1:])
            self._store(at, above._replace(children=(*above.children, name)))
            at, above = child_path(at, name), Node(b"", perms, (), 0)
        self._store(at, above._replace(value=value))

    def _store(self, path: str, node: Node, limited: bool = True) -> None:
        if limited and self._domid and node.stored_bytes() >= NODE_BYTES:
            raise RefusedError("ENOSPC")
        self._view.put(path, node._replace(generation=self._view.next_generation()))

    def _with_all_below(self, path: str) -> list[str]:
        """Children before their parents. No recursion: a path may have a thousand levels."""
        found = [path]
        for at in found:
            node = self._view.node(at)
            assert node is not None
            found += [child_path(at, name) for name in node.children]
        return found[::-1]

    def _changed(self, path: str, before: Node | None = None, exact: bool = False) -> None:
        nodes = (before, self._view.peek(path), self._view.peek(parent_of(path)))
        self.changes.append(Change(path, exact, nodes))


DomainExists = Callable[[int], bool]


def checked_perms(perms: Perms, exists: DomainExists) -> Perms:
    """Permissions as stored: an owner must exist, others that do not are left out."""
    if not exists(perms[0].domid):
        raise RefusedError("ENOENT")
    return (perms[0], *(perm for perm in perms[1:] if exists(perm.domid)))
