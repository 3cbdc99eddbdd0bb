"""What a change is: something that a user or a program does to the graph, and undoes again.

`name` is what the table shows; `begin` a context manager that makes the change when it is entered
and takes it back when it is left. The sound between is judged, and the sound after.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from interop.changes.place import Place

# A cycle of the usual quantum: clients of either device miss one now and then; and where our source
# and our sink become one graph, one of them follows from then on, whose cycles come at other times:
# so much may it leave out, or repeat, to be as far behind its clock as it was. A null sink is one
# driver and has no time that this could change.
ALLOWED_FRAMES = 1024

Make = Callable[[Place], AbstractContextManager[None]]


@dataclass(frozen=True)
class Change:
    name: str
    begin: Make
    hold_sec: float = 1.2
    rest_sec: float = 1.2
    """How long it lasts, and how long nothing happens after it."""
    allowed_frames: int = ALLOWED_FRAMES
    """Of a run: what we may lose, or put in, beyond what PipeWire's own device does."""
    own_is_heard: bool = True
    """False: how long PipeWire's own device stands still is what judges us, and not what is heard
    of it."""


CHANGES: dict[str, Change] = {}
"""All of them by name, in the order of the table."""


def add(name: str, make: Make, **options: Any) -> None:
    assert name not in CHANGES, name
    CHANGES[name] = Change(name, make, **options)


def change(name: str, **options: Any) -> Callable[[Make], Make]:
    """Registers what it decorates."""

    def register(make: Make) -> Make:
        add(name, make, **options)
        return make

    return register
