"""states.py: every cell of both tables, and the two tables run against each other.

A cell below is the actions' letters, ">" and the number of the next state as in <xen/io/xenbus.h>.
"." is ignored: no action, no change. "!" is the peer's protocol error, "#" cannot happen.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xenpvaudio.errors import LocalProtocolError, PeerProtocolError
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

XENBUS_H = Path("/usr/include/xen/io/xenbus.h").read_text()

LETTERS = {
    "R": Action.READ_CONFIG,
    "P": Action.PUBLISH,
    "A": Action.ATTACH,
    "D": Action.DETACH,
    "L": Action.LOOK,
    "U": Action.UNREGISTER,
    "O": Action.OFFER,
    "C": Action.CONNECT,
    "M": Action.COMPARE,
    "X": Action.DISCONNECT,
    "T": Action.ARM_TIMER,
    "N": Action.ANNOUNCE,
    "F": Action.FINISH,
}

FRONTEND_CELLS = """
                UNKNOWN INITIALISING INITIALISED CONNECTED CLOSING CLOSED RECONFIGURING
UNKNOWN         .       .            D>1         D>1       F>6     .      .
INITIALISING    .       .            D>1         D>1       F>6     >1     .
INIT_WAIT       .       RP>3         DRPN>3      DRP>3     F>6     RP>3   DRP>3
INITIALISED     .       .            .           .         .       .      .
CONNECTED       .       .            A>4         .         .       .      .
CLOSING         .       .            D>6         D>6       F>6     .      .
CLOSED          .       .            D>1         D>1       F>6     >1     .
RECONFIGURING   .       .            .           .         .       .      .
RECONFIGURED    .       .            .           .         .       .      .
START           >1      #            #           #         #       #      #
STOP            F>0     UF>6         DUT>5       DUT>5     .       UF>6   DUF>6
REMOVED         F>0     UF>0         DUF>0       DUF>0     F>0     UF>0   DUF>0
ERROR           .       T>1          DT>1        DT>1      .       .      .
BUSY            .       .            D>7         D>7       .       .      .
RELEASED        .       .            .           .         .       .      L>1
TIMER           .       L>1          .           .         F>6     .      .
OFFLINE         #       #            #           #         #       #      #
GONE            #       #            #           #         #       #      #
CONNECT_FAILED  #       #            #           #         #       #      #
CHANGED         #       #            #           #         #       #      #
"""

BACKEND_CELLS = """
                UNKNOWN INIT_WAIT CONNECTED CLOSING CLOSED
UNKNOWN         .       .         X>2       .       .
INITIALISING    .       .         X>2       >2      .
INIT_WAIT       .       !         !         .       .
INITIALISED     .       C>4       M>4       .       .
CONNECTED       .       .         M>4       .       .
CLOSING         .       T>5       XT>5      .       .
CLOSED          .       .         X>2       >2      .
RECONFIGURING   .       .         X>2       .       .
RECONFIGURED    .       .         .         .       .
START           O>2     #         #         #       #
STOP            F>0     F>6       XF>6      F>6     F>6
REMOVED         F>0     F>0       XF>0      F>0     F>0
ERROR           T>0     T>6       XT>6      .       .
TIMER           O>2     NL>2      .         >2      OT>2
OFFLINE         F>6     F>6       XF>6      F>6     F>6
GONE            .       .         XT>2      .       .
CONNECT_FAILED  .       T>2       XT>2      .       .
CHANGED         .       .         XCN>4     .       .
BUSY            #       #         #         #       #
RELEASED        #       #         #         #       #
"""

FRONTEND_NEVER = (XenbusState.INIT_WAIT, XenbusState.RECONFIGURED)
BACKEND_NEVER = (
    XenbusState.INITIALISING,
    XenbusState.INITIALISED,
    XenbusState.RECONFIGURING,
    XenbusState.RECONFIGURED,
)


def event_named(name: str) -> Event:
    """States and local events have no name in common."""
    return XenbusState[name] if name in XenbusState.__members__ else Local[name]


def read_cells(text: str) -> dict[tuple[XenbusState, Event], str]:
    head, *lines = text.strip().splitlines()
    states = [XenbusState[name] for name in head.split()]
    cells = {}
    for line in lines:
        name, *row = line.split()
        assert len(row) == len(states), line
        for own, cell in zip(states, row, strict=True):
            cells[own, event_named(name)] = cell
    return cells


EVERY_CELL = [
    pytest.param(table, own, event, cell, id=f"{end}-{own.name}-{event.name}")
    for end, table, text in (("front", FRONTEND, FRONTEND_CELLS), ("back", BACKEND, BACKEND_CELLS))
    for (own, event), cell in read_cells(text).items()
]


@pytest.mark.parametrize(("table", "own", "event", "cell"), EVERY_CELL)
def test_cell(table: Table, own: XenbusState, event: Event, cell: str) -> None:
    if cell == "!":
        with pytest.raises(PeerProtocolError, match=event.name):
            xenbus.step(table, own, event)
    elif cell == "#":
        with pytest.raises(LocalProtocolError, match=event.name):
            xenbus.step(table, own, event)
    elif cell == ".":
        assert xenbus.step(table, own, event) == Step((), own)
    else:
        letters, number = cell.split(">")
        expected = Step(tuple(LETTERS[letter] for letter in letters), XenbusState(int(number)))
        assert xenbus.step(table, own, event) == expected


def test_the_expected_tables_leave_out_no_cell() -> None:
    every = {*XenbusState, *Local}
    for text, never in ((FRONTEND_CELLS, FRONTEND_NEVER), (BACKEND_CELLS, BACKEND_NEVER)):
        owns = set(XenbusState) - set(never)
        assert set(read_cells(text)) == {(own, event) for own in owns for event in every}


@pytest.mark.parametrize("event", [*XenbusState, *Local], ids=lambda event: event.name)
def test_own_states_that_an_end_never_has_are_our_bug(event: Event) -> None:
    for table, never in ((FRONTEND, FRONTEND_NEVER), (BACKEND, BACKEND_NEVER)):
        for own in never:
            with pytest.raises(LocalProtocolError):
                xenbus.step(table, own, event)


def test_no_step_leads_to_a_state_without_a_row() -> None:
    for table in (FRONTEND, BACKEND):
        for row in table.values():
            assert {cell.next for cell in row.values() if isinstance(cell, Step)} <= set(table)


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


@pytest.mark.parametrize("first", ["front", "back"])
def test_both_ends_connect_whoever_starts_first(first: str) -> None:
    world = World()
    world.run(first)
    assert world.connected()


def test_backend_killed_and_restarted_gets_new_rings_and_the_nodes_stay() -> None:
    world = World()
    world.run("front")
    old = world.front.rings if world.front else None
    world.start_back()  # kill -9: nothing was written
    world.settle()
    assert world.connected()
    assert world.front is not None
    assert world.front.rings != old
    assert isinstance(world.front, End)
    assert all(Action.UNREGISTER not in step.actions for step in world.front.steps)


def test_frontend_killed_and_restarted_makes_the_backend_let_go() -> None:
    world = World()
    world.run("back")
    world.start_front()
    world.settle()
    assert world.connected()
    assert world.back is not None
    assert isinstance(world.back, End)
    assert any(Action.DISCONNECT in step.actions for step in world.back.steps)


def test_backend_that_stops_and_comes_back_finds_the_frontend_waiting() -> None:
    world = World()
    world.run("front")
    assert world.back is not None
    assert world.front is not None
    world.back.feed(Local.STOP)
    world.settle()
    assert world.back_node.state is XenbusState.CLOSED
    assert world.front.own is XenbusState.INITIALISING
    world.start_back()
    world.settle()
    assert world.connected()


def test_frontend_that_stops_leaves_the_backend_ready_for_the_next() -> None:
    world = World()
    world.run("front")
    assert world.front is not None
    assert world.back is not None
    world.front.feed(Local.STOP)
    world.settle()
    assert world.front.finished
    assert world.front_node.state is XenbusState.CLOSED
    assert world.back.own.name == "INIT_WAIT"
    world.start_front()
    world.settle()
    assert world.connected()


def test_frontend_that_stops_without_a_backend_ends_by_its_timer() -> None:
    world = World()
    world.run("front")
    assert world.front is not None
    world.back = None
    world.front.feed(Local.STOP)
    world.settle()
    assert world.front.finished


def test_a_guest_that_broke_the_protocol_may_come_back_but_not_at_its_own_pace() -> None:
    world = World()
    world.run("front")
    assert world.back is not None
    world.back.feed(Local.ERROR)
    for state in XenbusState:
        world.front_node.write(state)
        world.back.watch()
        assert world.back.own is XenbusState.CLOSED
    world.settle()
    assert world.connected()


def test_stale_references_of_linux_double_publish_are_survived() -> None:
    """Around its probe Linux goes 3 -> 1 -> 3; the first references cannot be mapped any more."""
    world = World()
    world.front = None
    world.start_back()
    world.settle()
    assert world.back is not None
    world.shared |= {"published": 1, "stale": 1}
    world.front_node.write(XenbusState.INITIALISED)
    world.back.watch()
    assert world.back.own.name == "INIT_WAIT"
    world.front_node.write(XenbusState.INITIALISING)
    world.back.watch()
    world.shared["published"] = 2
    world.front_node.write(XenbusState.INITIALISED)
    world.back.watch()
    assert world.back.own.name == "CONNECTED"
    assert world.back.rings == 2


def test_republished_rings_are_noticed_when_the_state_in_between_was_missed() -> None:
    world = World()
    world.start_back()
    assert world.back is not None
    world.shared["published"] = 1
    world.front_node.write(XenbusState.INITIALISED)
    world.back.watch()
    assert world.back.rings == 1
    world.back_node.fired = False
    world.front_node.write(XenbusState.INITIALISING)
    world.shared["published"] = 2
    world.front_node.write(XenbusState.INITIALISED)
    world.back.watch()
    assert world.back.rings == 2
    assert world.back_node.fired  # Linux waits for a Connected that comes after its Initialised


def test_after_a_failed_connect_the_frontend_is_asked_again() -> None:
    world = World()
    world.shared["stale"] = 1
    world.run("back")
    assert world.connected()
    assert world.front is not None
    assert world.front.rings == 2


def test_closing_is_answered_by_closing_and_later_by_init_wait() -> None:
    """A guest that shuts down waits for the Closing, one that unbinds 1 s for the InitWait."""
    world = World()
    world.run("back")
    assert world.back is not None
    world.front = None
    world.front_node.write(XenbusState.CLOSING)
    world.back.watch()
    assert world.back_node.state.name == "CLOSING"
    assert world.back.timer
    world.back.expire()
    assert world.back_node.state.name == "INIT_WAIT"
    assert 0 < xenbus.CLOSING_HOLD_NSEC < 1_000_000_000


@pytest.mark.parametrize("event", [*XenbusState, None], ids=str)
def test_toolstack_offline_ends_in_closed_whatever_the_guest_does(
    event: XenbusState | None,
) -> None:
    """libxl writes online=0 and state=5, then waits 10 s for state 6."""
    for own in BACKEND:
        step = xenbus.step(BACKEND, own, Local.OFFLINE)
        assert step.next is XenbusState.CLOSED
        assert Action.FINISH in step.actions
    world = World()
    world.run("back")
    assert world.back is not None
    world.back.feed(Local.OFFLINE)
    if event is not None:
        world.front_node.write(event)
    world.settle()
    assert world.back_node.state is XenbusState.CLOSED


def test_init_wait_comes_at_once_and_waits_for_no_frontend() -> None:
    """xl destroys a guest whose backend reaches InitWait too late."""
    assert xenbus.step(BACKEND, XenbusState.UNKNOWN, Local.START) == Step(
        (Action.OFFER,), XenbusState.INIT_WAIT
    )


def test_linux_frontend_ignores_the_same_states_as_ours() -> None:
    """Linux ignores Closing too; by the header's diagram it ends the connection, so ours leaves."""
    for event in ("INITIALISED", "RECONFIGURING", "RECONFIGURED"):
        assert xenbus.step(FRONTEND, XenbusState.CONNECTED, XenbusState[event]).actions == ()


HAPPENINGS = [
    f"{who} {what}" for who in ("front", "back") for what in ("kill", "stop", "watch", "timer")
] + ["front error", "front busy", "front released", "back error", "back gone"]


def live_through(world: World, history: list[str]) -> None:
    """Each happening may find the other end in the middle of the handshake."""
    world.start_front()
    world.start_back()
    for happening in history:
        who, what = happening.split()
        end = world.front if who == "front" else world.back
        start = world.start_front if who == "front" else world.start_back
        assert end is not None
        if what == "kill":
            start()
        elif what == "stop":
            end.feed(Local.STOP)
            start()
        elif what == "watch":
            end.watch()
        elif what == "timer":
            end.expire()
        else:
            end.feed(Local(what))
    assert world.front is not None
    world.front.feed(Local.RELEASED)
    world.settle()


@settings(max_examples=300)
@given(st.lists(st.sampled_from(HAPPENINGS), max_size=30))
def test_any_history_of_kills_stops_and_errors_ends_connected(history: list[str]) -> None:
    world = World()
    live_through(world, history)
    assert world.connected()


@settings(max_examples=300)
@given(st.lists(st.sampled_from(HAPPENINGS), max_size=30))
def test_any_history_with_linux_frontend_ends_connected(history: list[str]) -> None:
    world = World(front="linux")
    live_through(world, history)
    assert world.connected()


@settings(max_examples=300)
@given(st.lists(st.sampled_from(HAPPENINGS), max_size=30))
def test_any_history_with_a_libxenbe_backend_ends_connected(history: list[str]) -> None:
    world = World(back="libxenbe")
    live_through(world, history)
    assert world.connected()


# --- nodes ----------------------------------------------------------------------------------------


def test_states_are_the_headers() -> None:
    listed = re.findall(r"XenbusState(\w+)\s*= (\d)", XENBUS_H)
    header = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper(): int(n) for name, n in listed}
    assert {state.name: int(state) for state in XenbusState} == header


@pytest.mark.parametrize(("text", "state"), [("4", 4), ("0", 0), ("8", 8), (None, 0), ("", 0)])
def test_state_nodes_are_read(text: str | None, state: int) -> None:
    assert xenbus.parse_state(text) is XenbusState(state)


@pytest.mark.parametrize("text", ["9", "-1", "04", "4\n", "x", "٤", "4" * 5000])
def test_other_state_nodes_are_a_protocol_error(text: str) -> None:
    with pytest.raises(PeerProtocolError, match="is no xenbus state") as caught:
        xenbus.parse_state(text)
    assert len(str(caught.value)) < 200


def test_only_online_0_means_offline() -> None:
    assert xenbus.is_offline("0")
    assert not xenbus.is_offline("1")
    assert not xenbus.is_offline(None)


def test_missing_versions_means_version_2() -> None:
    """Neither libxl nor libxenbe nor snd_be writes `versions`, and Linux never writes `version`."""
    assert xenbus.choose_version(None) == 2
    assert xenbus.check_version(None) == 2


@pytest.mark.parametrize("versions", ["2", "1,2", "1,2,3", "3, 2"])
def test_version_2_is_chosen_from_what_is_offered(versions: str) -> None:
    assert xenbus.choose_version(versions) == 2


def test_our_own_offer_is_accepted() -> None:
    assert xenbus.choose_version(xenbus.OFFERED_VERSIONS) == 2
    assert xenbus.check_version("2") == 2


@pytest.mark.parametrize("versions", ["1", "3,4", "", "two", "2;1", "1,,2"])
def test_other_offers_are_a_protocol_error(versions: str) -> None:
    with pytest.raises(PeerProtocolError):
        xenbus.choose_version(versions)


@pytest.mark.parametrize("version", ["1", "3", "", "x"])
def test_a_version_that_was_not_offered_is_a_protocol_error(version: str) -> None:
    with pytest.raises(PeerProtocolError):
        xenbus.check_version(version)


def test_tables_can_be_drawn() -> None:
    drawn = xenbus.render(FRONTEND)
    assert "    INIT_WAIT       detach, read config, publish, announce -> INITIALISED\n" in drawn
    assert "    INIT_WAIT       protocol violation\n" in xenbus.render(BACKEND)
    assert drawn.count("ignored: ") == len(FRONTEND)
