"""In a guest: a frontend that harms itself, with the project's own access to Xen.

hostile.py stale COUNT    publishes references and ports that nobody was ever given, again and again
hostile.py vanish COUNT   connects and dies in the middle of OPEN, COUNT processes one after another
hostile.py power          the same once, and the whole guest goes with it
hostile.py silent SEC     connects, opens, starts; then takes no answer and no event

It begins when the file /tmp/go appears: Python takes seconds to start under emulation.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from xenpvaudio.sndif import packets, page_directory
from xenpvaudio.sndif.codes import PcmFormat, Trigger
from xenpvaudio.xen.api import PAGE_BYTES, Domain
from xenpvaudio.xen.connect import real_domain

DEVICE, STREAM = "device/vsnd/0", "device/vsnd/0/0/0"
BUFFER_BYTES, PERIOD_BYTES = 65536, 16384
SLOT_BYTES, REQ_PROD = 64, 0  # xen/io/ring.h: the indices' 64 bytes, then the slots
INITIALISING, INIT_WAIT, INITIALISED, CONNECTED = "1", "2", "3", "4"


def wait(domain: Domain, states: tuple[str, ...], timeout_sec: float = 120) -> None:
    """Until the backend is in one of `states`."""
    path = domain.store.read(f"{DEVICE}/backend") + "/state"
    end = time.monotonic() + timeout_sec
    while domain.store.get(path) not in states:
        if time.monotonic() > end:
            sys.exit(f"the backend stays in {domain.store.get(path)}, not {states}")
        time.sleep(0.02)


def publish(domain: Domain, numbers: tuple[int, int, int, int]) -> None:
    keys = ("ring-ref", "event-channel", "evt-ring-ref", "evt-event-channel")
    for key, number in zip(keys, numbers, strict=True):
        domain.store.write(f"{STREAM}/{key}", str(number))
    domain.store.write(f"{DEVICE}/state", INITIALISED)


class Rings:
    """The two rings of the one stream, connected."""

    def __init__(self, domain: Domain) -> None:
        domain.store.write(f"{DEVICE}/state", INITIALISING)
        wait(domain, (INIT_WAIT,))
        self._domain = domain
        self._pages = [domain.grants.grant(0, 1) for _ in range(2)]
        self._channels = [domain.channels.bind_unbound(0) for _ in range(2)]
        words = self._pages[0].view.cast("I")
        words[1] = words[3] = 1  # req_event, rsp_event: SHARED_RING_INIT
        self._sent = 0
        self._kept: list[object] = []
        publish(domain, (self._pages[0].refs[0], self._channels[0].port,
                         self._pages[1].refs[0], self._channels[1].port))  # fmt: skip
        wait(domain, (CONNECTED,))
        domain.store.write(f"{DEVICE}/state", CONNECTED)

    def send(self, request: packets.Request) -> None:
        """Nobody waits for the answer."""
        at = SLOT_BYTES * (1 + self._sent % 32)
        self._pages[0].view[at : at + SLOT_BYTES] = request.pack()
        self._sent += 1
        self._pages[0].view.cast("I")[REQ_PROD] = self._sent
        self._channels[0].notify()

    def open(self) -> None:
        data_pages, directory_pages = page_directory.pages_needed(BUFFER_BYTES)
        buffer = self._domain.grants.grant(0, data_pages)
        directory = self._domain.grants.grant(0, directory_pages)
        self._kept += [buffer, directory]
        for number, page in enumerate(page_directory.build(buffer.refs, directory.refs)):
            directory.view[number * PAGE_BYTES : (number + 1) * PAGE_BYTES] = page
        self.send(
            packets.OpenRequest(
                0, 16000, PcmFormat.S16_LE, 2, BUFFER_BYTES, directory.refs[0], PERIOD_BYTES
            )
        )


def connect() -> Domain:
    return real_domain(lambda function, *arguments: function(*arguments))


def stale(count: int) -> None:
    domain = connect()
    for number in range(count):
        wait(domain, (INIT_WAIT,))
        base = 900_000 + number * 8
        publish(domain, (base, 900 + number, base + 1, 901 + number))
        time.sleep(0.1)
    print(f"{count} times")


def vanish(count: int) -> None:
    for number in range(count):
        child = os.fork()
        if child == 0:
            rings = Rings(connect())
            rings.open()
            os.kill(os.getpid(), 9)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            sys.exit(f"process {number} ended before its OPEN")
    domain = connect()
    domain.store.write(f"{DEVICE}/state", INITIALISING)
    wait(domain, (INIT_WAIT,))
    print(f"{count} processes")


def power() -> None:
    """Linux's emergency reboot: the domain is gone at once."""
    rings = Rings(connect())
    trigger = Path("/proc/sysrq-trigger")
    rings.open()
    trigger.write_text("b")


def silent(seconds: float) -> None:
    rings = Rings(connect())
    rings.open()
    rings.send(packets.TriggerRequest(0, Trigger.START))
    time.sleep(seconds)
    print(f"{seconds:g} s")


def main() -> None:
    print("ready", file=sys.stderr, flush=True)
    while not Path("/tmp/go").exists():
        time.sleep(0.02)
    match sys.argv[1:]:
        case ["stale", count]:
            stale(int(count))
        case ["vanish", count]:
            vanish(int(count))
        case ["power"]:
            power()
        case ["silent", seconds]:
            silent(float(seconds))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
