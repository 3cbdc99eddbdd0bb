"""The simulated xenstored before a client that sends any bytes.

Invariant: each whole message gets one answer, with its request id and of its own type or ERROR, in
order, at most 4096 bytes of it; a client either gets answers or is dropped (BrokenPeerError), and
nothing else is raised; how the bytes were cut makes no difference to anybody; quotas hold; every
node has its parent, and who owns how many is counted right.
"""

from __future__ import annotations

from collections import Counter

from fuzz.source import Source
from xenpvaudio.xen.sim import store, xenstored

GUEST = 1
PATHS = (
    "/local/domain/1",
    "/local/domain/1/device/vsnd/0/state",
    "/local/domain/2/name",
    "device",
    "device/vsnd/0",
    "data",
    "data/x",
    "state",
    "/",
    "/tool",
    "@introduceDomain",
    "@releaseDomain",
    "a//b",
    "",
)
PERMS = ("n1", "r0", "b2", "w1", "n0", "n9", "r65536", "x1", "b1")
KINDS = tuple(sorted(xenstored.OPERATIONS))


def _path(source: Source) -> str:
    choice = source.below(20)
    if choice < len(PATHS):
        return PATHS[choice]
    if choice == 14:  # as many levels as fit
        return "/".join("a" * source.below(600))
    if choice == 15:
        return "data/" + "b" * source.below(2100)
    return source.text() if choice < 18 else f"data/{source.below(300)}"


def _body(source: Source, kind: int, number: int) -> bytes:
    """What this operation takes, mostly."""
    name = xenstored.OPERATIONS.get(kind, "")
    if not name or source.below(16) == 15:
        return source.raw(source.below(300))
    if name in ("TRANSACTION_END", "GET_DOMAIN_PATH", "RELEASE", "IS_DOMAIN_INTRODUCED"):
        return source.pick(("T", "F", "1", "2", "0", "65535", "x")).encode() + b"\0"
    if name == "INTRODUCE":
        return b"%d\x001\x001\0" % source.below(5)
    path = _path(source).encode("utf-8", "surrogateescape") + b"\0"
    if name == "WRITE":
        return path + (source.raw(source.below(40)) or b"v" * (source.below(30) * 100))
    if name == "SET_PERMS":
        return path + b"".join(source.pick(PERMS).encode() + b"\0" for _ in range(source.below(8)))
    if name in ("WATCH", "UNWATCH"):
        return path + b"%d\0" % number
    if name == "DIRECTORY_PART":
        return path + source.pick((b"0", b"4", b"4000", b"-1", b"x")) + b"\0"
    return path


def _messages(source: Source) -> list[bytes]:
    messages: list[bytes] = []
    while source.left and len(messages) < 400:
        kind = source.pick(KINDS) if source.below(12) else source.number()
        tx_id = source.pick((0, 0, 0, 1, 2, 3, 99))
        again = 1 if source.below(8) else source.below(160)
        for number in range(again):
            body = _body(source, kind, number + 200 * len(messages))
            length = len(body) if source.below(64) < 63 else source.number(4)
            header = xenstored.HEADER.pack(kind, len(messages) & 0xFFFF, tx_id, length)
            messages.append(header + body)
    return messages


def whole(data: bytes) -> tuple[list[tuple[int, int]], bool]:
    """(kind, request id) of each message that must be answered, and whether the client is dropped;
    a reading of its own."""
    found: list[tuple[int, int]] = []
    while len(data) >= 16:
        kind, request_id, length = (int.from_bytes(data[i : i + 4], "little") for i in (0, 4, 12))
        if length > 4096:
            return found, True
        if len(data) < 16 + length:
            break
        found.append((kind, request_id))
        data = data[16 + length :]
    return found, False


class _Run:
    """One daemon with a guest, its bystander in domain 0, and what both were sent."""

    def __init__(self) -> None:
        self.daemon = xenstored.SimXenstored(lambda domid: domid in (0, 1, 2))
        self.seen: list[bytes] = []
        self.sent: list[bytes] = []
        tools = self.daemon.connect(0, self.seen.append)
        for kind, body in (
            (8, b"1\x001\x001\0"),
            (12, b"/local/domain/1\0"),
            (14, b"/local/domain/1\0n0\0r1\0"),
            (12, b"/local/domain/1/data\0"),
            (14, b"/local/domain/1/data\0n1\0"),
            (11, b"/local/domain/1/device/vsnd/0/state\x001"),
            (14, b"/local/domain/1/device/vsnd/0\0n1\0r0\0"),
            (4, b"/local/domain\0t\0"),
        ):
            tools.feed(xenstored.HEADER.pack(kind, 0, 0, len(body)) + body)
        self.seen.clear()
        self.guest = self.daemon.connect(GUEST, self.sent.append)
        self.dropped = False

    def feed(self, data: bytes) -> None:
        if self.dropped:
            return
        try:
            self.guest.feed(data)
        except xenstored.BrokenPeerError:
            self.dropped = True

    def answers(self) -> list[tuple[int, int]]:
        """(kind, request id) of each answer; events are left out."""
        found = []
        for message in self.sent:
            kind, request_id, _tx, length = xenstored.HEADER.unpack_from(message)
            assert length == len(message) - 16 <= 4096, "a message of another length than it says"
            if kind != xenstored.WATCH_EVENT:
                found.append((kind, request_id))
        return found


def _check_tree(daemon: xenstored.SimXenstored, guest: xenstored.StoreConnection) -> None:
    nodes = daemon.tree._nodes
    owned: Counter[int] = Counter()
    for path, node in nodes.items():
        owned[node.perms[0].domid] += 1
        assert len(set(node.children)) == len(node.children), f"{path} has a child twice"
        for child in node.children:
            assert store.child_path(path, child) in nodes, f"{path}/{child} is not there"
        if path != "/":
            above = nodes.get(store.parent_of(path))
            assert above and path.rpartition("/")[2] in above.children, f"{path} has no parent"
    for domid in owned | daemon.tree._owned:
        assert owned[domid] == daemon.tree.owned(domid), f"domain {domid} owns {owned[domid]}"
    assert owned[GUEST] <= 1000 + 1, f"{owned[GUEST]} nodes"  # one that domain 0 gave it
    assert len(guest.watches) <= 128 + 1, f"{len(guest.watches)} watches"
    assert len(guest.transactions) <= 10 + 1, f"{len(guest.transactions)} transactions"


def run(data: bytes) -> int:
    """How many messages there were."""
    source = Source(data)
    cuts = [1 + source.below(200) for _ in range(4)]
    messages = _messages(source)
    stream = b"".join(messages)
    at_once, cut = _Run(), _Run()
    at_once.feed(stream)
    at = number = 0
    while at < len(stream):
        step = cuts[number % len(cuts)]
        cut.feed(stream[at : at + step])
        at, number = at + step, number + 1
    asked, dropped = whole(stream)
    answers = at_once.answers()
    assert at_once.dropped == dropped
    assert [request_id for _, request_id in answers] == [request_id for _, request_id in asked]
    for (asked_kind, _), (kind, _) in zip(asked, answers, strict=True):
        assert kind in (asked_kind, xenstored.ERROR), f"{asked_kind} is answered by {kind}"
    assert at_once.sent == cut.sent, "cut in other pieces, the guest is told something else"
    assert at_once.seen == cut.seen, "cut in other pieces, others are told something else"
    _check_tree(at_once.daemon, at_once.guest)
    return len(messages)
