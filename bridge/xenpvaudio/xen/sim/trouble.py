"""What goes wrong with a simulated machine, on order: hypercalls that are refused, a XenStore that
is full or slow, a process that stops at a step. Each order is for a domain, or one process of it.

One thread, the hypervisor's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from .tables import Json, refuse


@dataclass(frozen=True, slots=True)
class Trouble:
    """`pid` 0: every process of the domain.

    refuse: errno by hypercall, for those of refuse_pages pages and more. store_error: the name
    (xs_wire.h) of what every XenStore request that adds something is answered with.
    store_delay_sec: before each answer. hold_path and hold_value: as soon as that node gets that
    value, XenStore says nothing more to the process. hold_call and hold_pages: a hypercall of at
    least so many pages is never carried out.
    """

    domid: int
    pid: int = 0
    refuse: Mapping[str, int] = field(default_factory=dict)
    refuse_pages: int = 0
    store_error: str = ""
    store_delay_sec: float = 0.0
    hold_path: str = ""
    hold_value: str = ""
    hold_call: str = ""
    hold_pages: int = 0


NONE = Trouble(-1)
_NAMES = frozenset(spec.name for spec in fields(Trouble))


class Troubles:
    """All orders; the newest one that is for a process holds for it."""

    def __init__(self) -> None:
        self._orders: list[Trouble] = []
        self.held: set[int] = set()
        """Processes that have stopped at their step."""
        self._armed: set[int] = set()
        """Orders (their id()) whose node had another value since they were given."""

    def order(self, call: Json, value_of: Callable[[str], bytes | None]) -> None:
        """`value_of`: a node's value now. OSError: EINVAL for an order that is none."""
        if unknown := call.keys() - _NAMES:
            raise refuse(errno.EINVAL, f"no such trouble: {', '.join(sorted(unknown))}")
        order = Trouble(**call)
        self._orders.insert(0, order)
        self._arm(order, value_of(order.hold_path))

    def _arm(self, order: Trouble, value: bytes | None) -> None:
        if order.hold_path and value != order.hold_value.encode():
            self._armed.add(id(order))

    def end(self) -> None:
        self._orders.clear()
        self.held.clear()
        self._armed.clear()

    def of(self, domid: int, pid: int) -> Trouble:
        for order in self._orders:
            if order.domid == domid and order.pid in (0, pid):
                return order
        return NONE

    def holds_call(self, domid: int, pid: int, call: Json) -> bool:
        """Whether the process waits for ever for this hypercall."""
        order = self.of(domid, pid)
        if not order.hold_call or order.hold_call != call.get("op"):
            return False
        if _pages(call) >= order.hold_pages:
            self.held.add(pid)
        return pid in self.held

    def refuse_call(self, domid: int, pid: int, call: Json) -> None:
        order = self.of(domid, pid)
        code = order.refuse.get(str(call.get("op")))
        if code is not None and _pages(call) >= order.refuse_pages:
            raise refuse(code, os.strerror(code))

    def holds_store(self, domid: int, pid: int, value: bytes | None) -> bool:
        """`value`: of the node at the order's hold_path."""
        order = self.of(domid, pid)
        self._arm(order, value)
        if id(order) in self._armed and value == order.hold_value.encode():
            self.held.add(pid)
        return pid in self.held


def _pages(call: Json) -> int:
    return int(call["pages"]) if "pages" in call else len(call.get("refs", ()))
