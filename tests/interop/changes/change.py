"""What a change is: something that a user or a program does to the graph, and undoes again.

`name` is what the table shows; `begin` a context manager that makes the change when it is entered
and takes it back when it is left. The sound between is judged, and the sound after.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from interop.changes.place import Place

Make = Callable[[Place], AbstractContextManager[None]]


@dataclass(frozen=True)
class Change:
    name: str
    begin: Make
    hold_sec: float = 1.2
    rest_sec: float = 1.2
    """How long it lasts, and how long nothing happens after it."""


CHANGES: dict[str, Change] = {}
"""All of them by name, in the order of the table."""


def change(name: str, hold_sec: float = 1.2, rest_sec: float = 1.2) -> Callable[[Make], Make]:
    """Registers one."""

    def register(make: Make) -> Make:
        assert name not in CHANGES, name
        CHANGES[name] = Change(name, make, hold_sec, rest_sec)
        return make

    return register


def add(name: str, make: Make, hold_sec: float = 1.2, rest_sec: float = 1.2) -> None:
    change(name, hold_sec, rest_sec)(make)
