"""A guest whose driver is written by hand: XenStore nodes, rings and buffers, one step at a time.

Of the project only the way into the simulated machine is used (grants, event channels, XenStore):
what a domain can do there is the machine's to bound, and all else here is this file's choice.
"""

from __future__ import annotations

import select
import struct
import time

from xenpvaudio.xen.sim.domain import SimDomain, connect

from . import header

LIMIT_SEC = 60.0
"""No requirement: what never comes ends a test all the same."""
NOTHING: tuple[int, bytes] = (-1, b"")


class Stream:
    """One stream's two rings. `path`: below the card's directory, "0/1"."""

    def __init__(self, domain: SimDomain, path: str, peer: int = 0) -> None:
        self.domain = domain
        self.path = path
        self.peer = peer
        self.ring, self.events = (domain.grants.grant(peer, 1) for _ in range(2))
        self.channel, self.event_channel = (domain.channels.bind_unbound(peer) for _ in range(2))
        self.words = self.ring.view.cast("I")
        self.event_words = self.events.view.cast("I")
        self.words[header.REQ_EVENT] = self.words[header.RSP_EVENT] = 1
        self.sent = self.answered = 0
        self.answers: list[tuple[int, bytes]] = []

    def nodes(self) -> dict[str, str]:
        return {
            f"{self.path}/ring-ref": str(self.ring.refs[0]),
            f"{self.path}/event-channel": str(self.channel.port),
            f"{self.path}/evt-ring-ref": str(self.events.refs[0]),
            f"{self.path}/evt-event-channel": str(self.event_channel.port),
        }

    # -- requests

    def put(self, operation: int, body: bytes = b"") -> int:
        """One request more in the ring, and nobody is told of it."""
        at = header.SLOT * (1 + self.sent % header.RING_SLOTS)
        packet = header.request(self.sent, operation, body)
        self.ring.view[at : at + header.SLOT] = packet
        self.sent += 1
        self.words[header.REQ_PROD] = self.sent & 0xFFFFFFFF
        return self.sent - 1

    def send(self, operation: int, body: bytes = b"") -> int:
        number = self.put(operation, body)
        self.channel.notify()
        return number

    def take_answers(self) -> int:
        """How many came."""
        produced = self.words[header.RSP_PROD]
        before = self.answered
        while self.answered & 0xFFFFFFFF != produced:
            at = header.SLOT * (1 + self.answered % header.RING_SLOTS)
            packet = bytes(self.ring.view[at : at + header.SLOT])
            _number, _operation, status, body = header.RESPONSE.unpack(packet)
            self.answers.append((status, body))
            self.answered += 1
        self.words[header.RSP_EVENT] = (self.answered + 1) & 0xFFFFFFFF
        return self.answered - before

    @property
    def waiting(self) -> int:
        return self.sent - self.answered

    def wait_answers(self, limit_sec: float = LIMIT_SEC) -> bool:
        """Until nothing waits; False if it took too long."""
        end = time.monotonic() + limit_sec
        while self.waiting:
            if not self.take_answers():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                select.select([self.channel.fd], [], [], min(left, 0.05))
                self.channel.ack()
        return True

    def ask(
        self, operation: int, body: bytes = b"", limit_sec: float = LIMIT_SEC
    ) -> tuple[int, bytes]:
        """Status and body of the answer; NOTHING if none came."""
        self.answers.clear()
        self.send(operation, body)
        return self.answers[-1] if self.wait_answers(limit_sec) else NOTHING

    # -- buffers

    def share(self, pages: int) -> tuple[int, memoryview]:
        """A buffer: the reference of its page directory, and its octets."""
        data = self.domain.grants.grant(self.peer, pages)
        per_page = header.PAGE // 4 - 1
        count = -(-pages // per_page)
        directory = self.domain.grants.grant(self.peer, count)
        for number in range(count):
            refs = data.refs[number * per_page : (number + 1) * per_page]
            following = directory.refs[number + 1] if number + 1 < count else 0
            page = struct.pack(f"<{1 + len(refs)}I", following, *refs)
            begin = number * header.PAGE
            directory.view[begin : begin + len(page)] = page
        return directory.refs[0], data.view

    # -- events

    def take_events(self) -> list[int]:
        """The positions that came."""
        found = []
        cons, prod = self.event_words[header.IN_CONS], self.event_words[header.IN_PROD]
        while cons != prod:
            at = header.SLOT * (1 + cons % header.EVENT_SLOTS)
            _number, _kind, position = header.EVENT.unpack_from(self.events.view, at)
            found.append(position)
            cons = (cons + 1) & 0xFFFFFFFF
        self.event_words[header.IN_CONS] = cons
        return found


class Card:
    """A card of this domain's, as the toolstack has written it."""

    def __init__(self, directory: str, domid: int, devid: int = 0, backend_domid: int = 0) -> None:
        self.domain = connect(directory, domid, lambda function, *rest: function(*rest))
        self.store = self.domain.store
        self.path = f"device/vsnd/{devid}"
        self.peer = backend_domid
        self.streams: list[Stream] = []

    def backend_state(self) -> str | None:
        return self.store.get(self.store.read(f"{self.path}/backend") + "/state")

    def wait_backend(self, *states: str, limit_sec: float = LIMIT_SEC) -> bool:
        end = time.monotonic() + limit_sec
        while self.backend_state() not in states:
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def write_state(self, state: str) -> None:
        self.store.write(f"{self.path}/state", state)

    def publish(self, *paths: str) -> None:
        """Rings for the streams at `paths`, and state Initialised."""
        self.streams = [Stream(self.domain, path, self.peer) for path in paths]
        self.store.write(f"{self.path}/version", "2")
        for stream in self.streams:
            for node, text in stream.nodes().items():
                self.store.write(f"{self.path}/{node}", text)
        self.write_state("3")

    def connect(self, *paths: str) -> list[Stream]:
        """The whole handshake."""
        assert self.wait_backend("2"), f"the backend is in state {self.backend_state()}"
        self.publish(*paths)
        assert self.wait_backend("4"), f"the backend is in state {self.backend_state()}"
        self.write_state("4")
        return self.streams
