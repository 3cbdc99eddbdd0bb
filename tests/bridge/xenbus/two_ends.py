"""Two ends of a device and a store between them: ours, Linux's frontend, libxenbe."""

from __future__ import annotations

from xenpvaudio.xenbus import states as xenbus
from xenpvaudio.xenbus.states import (
    BACKEND,
    FRONTEND,
    Action,
    Event,
    Local,
    Step,
    Table,
    XenbusState,
)

# --- two ends and a store -------------------------------------------------------------------------


class Node:
    """A state node of a store whose watch fires on each write, with the same value too."""

    def __init__(self) -> None:
        self.state = XenbusState.UNKNOWN
        self.fired = False

    def write(self, state: XenbusState) -> None:
        self.state = state
        self.fired = True


class End:
    """Carries out a table's steps as the module's text says; rings are numbers."""

    def __init__(self, table: Table, mine: Node, theirs: Node, shared: dict[str, int]) -> None:
        self.table = table
        self.mine = mine
        self.theirs = theirs
        self.shared = shared
        self.own = XenbusState.UNKNOWN
        self.timer = False
        self.finished = False
        self.rings: int | None = None
        self.steps: list[Step] = []
        self.theirs.fired = True  # a watch fires once when it is set
        self.feed(Local.START)

    def feed(self, event: Event) -> None:
        if self.finished:
            return
        step = xenbus.step(self.table, self.own, event)
        self.steps.append(step)
        if step.next is not self.own:
            self.timer = False
        changed = False
        for action in step.actions:
            if action is Action.PUBLISH:
                self.shared["next"] = self.shared.get("next", 0) + 1
                self.rings = self.shared["published"] = self.shared["next"]
            elif action is Action.CONNECT:
                if self.shared.get("stale") == self.shared["published"]:
                    self.feed(Local.CONNECT_FAILED)
                    return
                self.rings = self.shared["published"]
            elif action is Action.COMPARE:
                changed = self.rings != self.shared["published"]
            elif action in (Action.DETACH, Action.DISCONNECT):
                self.rings = None
            elif action is Action.ARM_TIMER:
                self.timer = True
            elif action is Action.FINISH:
                self.finished = True
        if step.next is not self.own or Action.ANNOUNCE in step.actions:
            self.own = step.next
            if self.own is not XenbusState.UNKNOWN:
                self.mine.write(self.own)
        if changed:
            self.feed(Local.CHANGED)
        if Action.LOOK in step.actions:
            self.feed(self.theirs.state)

    def watch(self) -> bool:
        """Takes the watch's firing, if any. Between writes only the last value is seen."""
        if self.finished or not self.theirs.fired:
            return False
        self.theirs.fired = False
        self.feed(self.theirs.state)
        return True

    def expire(self) -> bool:
        if not self.timer:
            return False
        self.timer = False
        self.feed(Local.TIMER)
        return True


class LinuxFrontend:
    """How snd_xen_front moves: acts on each InitWait, writes its state only if it changes."""

    timer = finished = False

    def __init__(self, mine: Node, theirs: Node, shared: dict[str, int]) -> None:
        self.mine = mine
        self.theirs = theirs
        self.shared = shared
        self.rings: int | None = None
        self.own = mine.state
        self.theirs.fired = True
        self.switch(XenbusState.INITIALISING)

    def switch(self, state: XenbusState) -> None:
        if state is not self.own:
            self.own = state
            self.mine.write(state)

    def watch(self) -> bool:
        if not self.theirs.fired:
            return False
        self.theirs.fired = False
        state = self.theirs.state
        if state is XenbusState.INIT_WAIT:
            self.shared["next"] = self.shared.get("next", 0) + 1
            self.rings = self.shared["published"] = self.shared["next"]
            self.switch(XenbusState.INITIALISED)
        elif state is XenbusState.CONNECTED and self.own is XenbusState.INITIALISED:
            self.switch(XenbusState.CONNECTED)
        elif state in (XenbusState.INITIALISING, XenbusState.UNKNOWN, XenbusState.CLOSED):
            self.rings = None
            self.switch(XenbusState.INITIALISING)
        return True

    def expire(self) -> bool:
        return False

    def feed(self, event: Event) -> None:
        """Its own errors and unbinding: free everything, begin again."""
        if event is Local.STOP:
            self.switch(XenbusState.CLOSING)


class Libxenbe:
    """How a libxenbe backend moves: sees changes of the frontend's state only, never waits."""

    timer = finished = False

    def __init__(self, mine: Node, theirs: Node, shared: dict[str, int]) -> None:
        self.mine = mine
        self.theirs = theirs
        self.shared = shared
        self.rings: int | None = None
        self.seen = XenbusState.UNKNOWN
        self.own = XenbusState.UNKNOWN
        self.theirs.fired = True
        self.switch(XenbusState.INITIALISING)

    def switch(self, state: XenbusState) -> None:
        if state is not self.own:
            self.own = state
            self.mine.write(state)

    def close(self, after: XenbusState) -> None:
        self.rings = None
        for state in (XenbusState.CLOSING, XenbusState.CLOSED, after):
            self.switch(state)

    def watch(self) -> bool:
        if not self.theirs.fired:
            return False
        self.theirs.fired = False
        if self.theirs.state is self.seen:
            return True
        self.seen = self.theirs.state
        bound = self.own is XenbusState.CONNECTED
        if self.seen is XenbusState.INITIALISING:
            if bound:
                self.close(XenbusState.INIT_WAIT)
            elif self.own in (XenbusState.INITIALISING, XenbusState.CLOSED):
                self.switch(XenbusState.INIT_WAIT)
        elif self.seen in (XenbusState.INITIALISED, XenbusState.CONNECTED):
            if self.own in (XenbusState.INITIALISING, XenbusState.INIT_WAIT):
                self.rings = self.shared["published"]
                self.switch(XenbusState.CONNECTED)
        elif self.seen in (XenbusState.CLOSING, XenbusState.CLOSED) and bound:
            self.close(XenbusState.INIT_WAIT)
        return True

    def expire(self) -> bool:
        return False

    def feed(self, event: Event) -> None:
        failed = event is Local.ERROR and self.own is XenbusState.CONNECTED
        if event is Local.STOP or failed:
            self.close(XenbusState.CLOSED)


class World:
    """A frontend, a backend, their nodes."""

    def __init__(self, front: str = "ours", back: str = "ours") -> None:
        self.kinds = front, back
        self.front_node, self.back_node = Node(), Node()
        self.shared: dict[str, int] = {}
        self.front_node.write(XenbusState.INITIALISING)  # the toolstack does
        self.back_node.write(XenbusState.INITIALISING)
        self.front: End | LinuxFrontend | None = None
        self.back: End | Libxenbe | None = None

    def start_front(self) -> None:
        nodes = self.front_node, self.back_node, self.shared
        linux = self.kinds[0] == "linux"
        self.front = LinuxFrontend(*nodes) if linux else End(FRONTEND, *nodes)

    def start_back(self) -> None:
        nodes = self.back_node, self.front_node, self.shared
        libxenbe = self.kinds[1] == "libxenbe"
        self.back = Libxenbe(*nodes) if libxenbe else End(BACKEND, *nodes)

    def settle(self) -> None:
        """Until nothing fires any more; timers last."""
        for _ in range(200):
            ends = [end for end in (self.front, self.back) if end is not None]
            if any([end.watch() for end in ends]) or any([end.expire() for end in ends]):
                continue
            return
        raise AssertionError("the handshake does not settle")

    def run(self, first: str) -> None:
        (self.start_front if first == "front" else self.start_back)()
        (self.start_back if first == "front" else self.start_front)()
        self.settle()

    def connected(self) -> bool:
        assert self.front is not None
        assert self.back is not None
        return (
            self.front.own is self.back.own is XenbusState.CONNECTED
            and self.front.rings == self.back.rings is not None
        )
