"""What the tests of the simulated hypervisor share."""

from __future__ import annotations

import itertools
import os
import resource
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from xenpvaudio.xen.api import Channel
from xenpvaudio.xen.sim import (
    SimDomain,
)

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def at_once(fn: Callable[..., None], *args: object) -> None:
    fn(*args)


def wait_for(channel: Channel) -> int:
    """Events, once there are some."""
    assert select.select([channel.fd], [], [], 10)[0], "no event"
    return channel.ack()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def descriptors(pid: int | str = "self") -> set[int]:
    there = Path(f"/proc/{pid}/fd")
    return {int(name) for name in os.listdir(there) if os.path.lexists(there / name)}


def rights(address: int) -> str:
    """Of this process to the memory there, as the kernel writes them: "r--s", "rw-s"."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, what, *_rest = line.split()
        begin, end = (int(number, 16) for number in where.split("-"))
        if begin <= address < end:
            return what
    raise AssertionError(f"nothing is mapped at {address:#x}")


@contextmanager
def room_for(more: int, pid: int = 0) -> Iterator[None]:
    """A process, this one if none is named, can open so many more descriptors than now: the limit
    is for their numbers."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = descriptors(pid or "self")
    unused = (number for number in itertools.count() if number not in used)
    limit = next(itertools.islice(unused, more, None))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


# ---- events ----


def bound(host: SimDomain, guest: SimDomain) -> tuple[Channel, Channel]:
    """(guest's end, host's end), nothing pending."""
    offered = guest.channels.bind_unbound(0)
    taken = host.channels.bind_interdomain(1, offered.port)
    taken.ack()
    return offered, taken
