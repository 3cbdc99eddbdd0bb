"""Program: a hostile backend, written by hand, for a real frontend in domain 1.

    python -m hostile.backs DIRECTORY ATTACK SECONDS

Says "ready" when its attack begins, and at its end how often it did it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable

from xenpvaudio.xen.api import Channel, Mapping, XenStoreError
from xenpvaudio.xen.sim.domain import connect

from . import header
from .guest import LIMIT_SEC

GUEST = 1
OWN = f"backend/vsnd/{GUEST}/0"
THEIRS = f"/local/domain/{GUEST}/device/vsnd/0"


class Back:
    """Our half of the card; `pages`, `channels`: of its first stream, requests before events."""

    def __init__(self, directory: str) -> None:
        self.domain = connect(directory, 0, lambda function, *rest: function(*rest))
        self.store = self.domain.store
        self.pages: list[Mapping] = []
        self.channels: list[Channel] = []

    def write_state(self, state: str) -> None:
        self.store.write(f"{OWN}/state", state)

    def wait_front(self, state: str) -> None:
        end = time.monotonic() + LIMIT_SEC
        while self.store.get(f"{THEIRS}/state") != state:
            assert time.monotonic() < end, self.store.get(f"{THEIRS}/state")
            time.sleep(0.005)

    def connect(self) -> None:
        """The whole handshake."""
        self.store.write(f"{OWN}/versions", "1,2")
        self.write_state("2")
        self.wait_front("3")
        numbers = [
            int(self.store.read(f"{THEIRS}/0/0/{key}"))
            for key in ("ring-ref", "evt-ring-ref", "event-channel", "evt-event-channel")
        ]
        self.pages = [self.domain.grants.map(GUEST, [ref]) for ref in numbers[:2]]
        self.channels = [self.domain.channels.bind_interdomain(GUEST, port) for port in numbers[2:]]
        self.write_state("4")
        self.wait_front("4")


def states(back: Back, lasts: Callable[[], bool], *texts: str) -> int:
    count = 0
    while lasts():
        back.write_state(texts[count % len(texts)])
        count += 1
    return count


def flapping(back: Back, lasts: Callable[[], bool]) -> int:
    return states(back, lasts, "2", "4", "5", "6", "2", "3")


def garbage(back: Back, lasts: Callable[[], bool]) -> int:
    return states(back, lasts, "x", "\x1b[31m\u202e", "4" * 1000, "-1")


def reoffering(back: Back, lasts: Callable[[], bool]) -> int:
    """A handshake after the other, each to its end."""
    count = 0
    while lasts():
        back.write_state("6")
        back.write_state("2")
        end = time.monotonic() + 0.2
        while back.store.get(f"{THEIRS}/state") != "3" and time.monotonic() < end:
            time.sleep(0.002)
        back.write_state("4")
        count += 1
    return count


def hiding(back: Back, lasts: Callable[[], bool]) -> int:
    """Takes the frontend's right to read its nodes away, and gives it back."""
    count = 0
    while lasts():
        for perms in ("n0",), ("n0", f"r{GUEST}"):
            with contextlib.suppress(XenStoreError):
                back.store.set_perms(f"{OWN}/state", perms)
        back.write_state("24"[count % 2])
        count += 1
    return count


class Server:
    """Grants all that the card's first stream is asked for."""

    def __init__(self, back: Back) -> None:
        self.ring, self.words = back.pages[0].view, back.pages[0].view.cast("I")
        self.channel = back.channels[0]
        self.words[header.REQ_EVENT] = 1
        self.taken = 0
        self.written_bytes = 0

    def serve(self) -> bool:
        """Whether there was anything."""
        produced = self.words[header.REQ_PROD]
        before = self.taken
        while self.taken != produced:
            at = header.SLOT * (1 + self.taken % header.RING_SLOTS)
            number, operation, body = header.REQUEST.unpack(self.ring[at : at + header.SLOT])
            if operation == header.OPEN:
                self.written_bytes = 0
            elif operation == header.WRITE:
                self.written_bytes += header.RW_REQ.unpack_from(body)[1]
            answer = header.RESPONSE.pack(number, operation, 0, body)
            self.ring[at : at + header.SLOT] = answer
            self.taken = (self.taken + 1) & 0xFFFFFFFF
        self.words[header.REQ_EVENT] = (self.taken + 1) & 0xFFFFFFFF
        self.words[header.RSP_PROD] = self.taken
        if self.taken != before:
            self.channel.notify()
        return self.taken != before


def hurrying(back: Back, lasts: Callable[[], bool]) -> int:
    """Plays what an application sends, and says of each frame at once that it was heard."""
    server = Server(back)
    view, words, count = back.pages[1].view, back.pages[1].view.cast("I"), 0
    while lasts():
        server.serve()
        produced = words[header.IN_PROD]
        if (produced - words[header.IN_CONS]) & 0xFFFFFFFF < header.EVENT_SLOTS:
            at = header.SLOT * (1 + produced % header.EVENT_SLOTS)
            packet = header.EVENT.pack(count & 0xFFFF, 0, server.written_bytes)
            view[at : at + len(packet)] = packet
            words[header.IN_PROD] = (produced + 1) & 0xFFFFFFFF
            back.channels[1].notify()
            count += 1
        time.sleep(0.0005)
    return server.written_bytes


def events_for_nothing(back: Back, lasts: Callable[[], bool]) -> int:
    count = 0
    while lasts():
        for channel in back.channels:
            channel.notify()
            count += 1
    return count


def positions(back: Back, lasts: Callable[[], bool]) -> int:
    """Position events that say anything, as fast as they are taken."""
    words, count = back.pages[1].view.cast("I"), 0
    while lasts():
        produced = words[header.IN_PROD]
        if (produced - words[header.IN_CONS]) & 0xFFFFFFFF < header.EVENT_SLOTS:
            at = header.SLOT * (1 + produced % header.EVENT_SLOTS)
            packet = header.EVENT.pack(
                count & 0xFFFF, 0, count * 0x9E3779B97F4A7C15 & (1 << 64) - 1
            )
            back.pages[1].view[at : at + len(packet)] = packet
            words[header.IN_PROD] = (produced + 1) & 0xFFFFFFFF
            count += 1
        back.channels[1].notify()
    return count


def answers(back: Back, lasts: Callable[[], bool]) -> int:
    """Answers that nobody asked for."""
    words, count = back.pages[0].view.cast("I"), 0
    while lasts():
        produced = words[header.RSP_PROD]
        at = header.SLOT * (1 + produced % header.RING_SLOTS)
        packet = header.RESPONSE.pack(count & 0xFFFF, count % 12, -5, bytes([count & 0xFF]) * 56)
        back.pages[0].view[at : at + header.SLOT] = packet
        words[header.RSP_PROD] = (produced + 1) & 0xFFFFFFFF
        back.channels[0].notify()
        count += 1
    return count


def everything(back: Back, lasts: Callable[[], bool]) -> int:
    """Both channels as fast as they go, and an event page that is never empty."""
    words, count = back.pages[1].view.cast("I"), 0
    while lasts():
        words[header.IN_PROD] = (words[header.IN_CONS] + header.EVENT_SLOTS) & 0xFFFFFFFF
        for channel in back.channels:
            channel.notify()
        count += 1
    return count


ATTACKS: dict[str, Callable[[Back, Callable[[], bool]], int]] = {
    "state flapping": flapping,
    "state garbage": garbage,
    "handshakes in a row": reoffering,
    "read permission taken away": hiding,
    "events without slots": events_for_nothing,
    "events and positions at once": everything,
    "positions of all kinds": positions,
    "answers to nothing": answers,
    "all is heard at once": hurrying,
}


def main() -> None:
    directory, name, seconds = sys.argv[1:]
    back = Back(directory)
    back.connect()
    print("ready", flush=True)
    end = time.monotonic() + float(seconds)
    print(ATTACKS[name](back, lambda: time.monotonic() < end), flush=True)


if __name__ == "__main__":
    main()
