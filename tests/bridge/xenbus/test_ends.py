"""Both ends' tables against each other, and against other implementations, through any history."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.xenbus.two_ends import End, World
from xenpvaudio.xenbus import states as xenbus
from xenpvaudio.xenbus.states import (
    BACKEND,
    FRONTEND,
    Action,
    Local,
    Step,
    XenbusState,
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
] + ["front error", "back error", "back gone"]


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
