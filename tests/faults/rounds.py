"""Rounds of connecting and disconnecting, and what is left of them: descriptors, threads, pages and
ports of both halves, nodes of both graphs, entries of XenStore; and memory of both halves that
grows with the rounds.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from xenpvaudio.testbed.testbed import graph

from .breaking import plugged, unplugged
from .place import BACK, FRONT, Place, eventually

# No honest toolstack plugs ten times a second.
POLICY = "max-xenstore-burst = 1000000"
WARM_UP = 4
"""Rounds after which everything that is kept once is there."""
KIB_A_ROUND, KIB_ONCE = 4, 1024
"""What memory may grow by in the second half of the rounds. A heap that is used ever anew grows
for long, by ever less: of 1000 rounds the second 500 took a third of what the first did, 2 KiB a
round, and nothing that was allocated in them was left."""


def _entries(place: Place) -> int:
    assert place.bed.toolstack is not None
    store, todo, count = place.bed.toolstack.store, ["/local", "/libxl"], 0
    while todo:
        path = todo.pop()
        count += 1
        todo += [f"{path}/{name}" for name in store.list(path)]
    return count


def _descriptors(pid: int) -> list[str]:
    """What each descriptor of a process is open to: a file's name, or a kind, as "socket"."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(re.sub(r":\[\d+]$", "", os.readlink(f"/proc/{pid}/fd/{name}")))
        except FileNotFoundError:  # closed since the list was read
            continue
    return found


def _held(place: Place) -> Counter[str]:
    held: Counter[str] = Counter()
    for role in ("frontend", "backend"):
        pid = place.half(role).pid
        held.update(f"{role}: {kind}" for kind in _descriptors(pid))
        held[f"{role}: threads"] = len(os.listdir(f"/proc/{pid}/task"))
    for entry in place.bed.hypervisor.report():
        kind = "ports" if ": port " in entry else "pages"
        held[f"{entry.partition(':')[0]}: {kind}"] += 1
    for where in ("guest", "host"):
        held[f"{where}: objects"] = len(graph(place.session(where)))
    held["XenStore: entries"] = _entries(place)
    return held


def _connected(place: Place) -> bool:
    return place.store_state(FRONT) == place.store_state(BACK) == "4"


def _round(place: Place, number: int) -> None:
    """The card is unplugged and plugged, every tenth time while it plays."""
    heard = number % 10 == 0
    if heard:
        place.start_applications()
    unplugged(place)
    held = place.bed.hypervisor.report
    eventually(lambda: held() == [], lambda: f"round {number}: {held()} is kept\n{place.state()}")
    plugged(place)
    eventually(lambda: _connected(place), place.state)
    if heard:
        place.stop_applications()


def _memory_kib(place: Place) -> dict[str, int]:
    """What is resident of a process's own: its files' pages come and go as the machine likes."""
    found = {}
    for role in ("frontend", "backend"):
        status = Path(f"/proc/{place.half(role).pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        found[role] = int(fields["RssAnon"].split()[0])
    return found


def leaks(place: Place, rounds: int) -> list[str]:
    """What there is more of after `rounds` rounds, in words."""
    for number in range(WARM_UP):
        _round(place, 10 * number)
    place.start_applications()
    place.stop_applications()
    before = _held(place)
    memory = [_memory_kib(place)]
    for number in range(rounds):
        if number == rounds // 2:
            memory.append(_memory_kib(place))
        _round(place, number)
    place.start_applications()
    place.stop_applications()
    more: Counter[str] = Counter()

    def same() -> bool:
        nonlocal more
        more = _held(place)
        more.subtract(before)
        return not +more

    try:
        eventually(same, "")
    except AssertionError:
        return [f"{what}: {count} more" for what, count in (+more).items()]
    return grown([*memory, _memory_kib(place)], rounds)


def grown(memory_kib: list[dict[str, int]], rounds: int) -> list[str]:
    """`memory_kib`: before, after half of the rounds, after all."""
    found = []
    for role in memory_kib[0]:
        first, half, last = (looked[role] for looked in memory_kib)
        print(f"{role}: {first} KiB, {half} after half of the rounds, {last} after all")
        if last - half > KIB_ONCE + KIB_A_ROUND * rounds / 2:
            found.append(f"{role}: {last - half} KiB more after the second half of the rounds")
    return found
