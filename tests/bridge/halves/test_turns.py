"""No guest's events delay another guest by more than a few requests, whatever it writes, and what
a peer makes us do is bounded however long it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.halves.crowd import Counted, Crowd, run
from waiting import wait_for
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.hwparams import from_stream_config
from xenpvaudio.xen.api import QuotaError
from xenpvaudio.xen.real.xenstore import PyxsStore
from xenpvaudio.xenbus.pace import BURST_REQUESTS
from xenpvaudio.xenbus.states import Action, XenbusState

BUSY, HONEST, NEWCOMER = 1, 2, 3
DIRECTORY = "device/vsnd/0"
NODES = 976  # all that a guest may have beside its card's, by xenstored's quota


async def with_junk(crowd: Crowd, nodes: int = NODES) -> PyxsStore:
    """A guest that is connected, then fills its directory and has a hand of its own on it."""
    await crowd.newcomer(BUSY)
    crowd.front(BUSY)._peer_watch.cancel()  # type: ignore[union-attr]  # it answers no more
    hand = crowd.hand(BUSY)
    with contextlib.suppress(QuotaError):
        for number in range(nodes):  # where streams could be: they are looked into
            hand.write(f"{DIRECTORY}/0/{3 + number % 10}/junk{number}", "x")
    return hand


async def settled(crowd: Crowd) -> None:
    """The events so far are served."""
    await wait_for(lambda: all(device.idle for device in crowd.backend.devices.values()))


# --- who waits for whom ---------------------------------------------------------------------------


def test_a_state_written_3000_times_delays_no_newcomer(tmp_path: Path) -> None:
    async def body(crowd: Crowd) -> None:
        crowd.backend.run()
        hand = await with_junk(crowd)
        await crowd.newcomer(HONEST)
        await settled(crowd)
        crowd.asked.take()
        await crowd.newcomer(NEWCOMER)
        alone = crowd.asked.take()
        for _ in range(3000):
            hand.write(f"{DIRECTORY}/state", "4")
        await crowd.newcomer(NEWCOMER + 1)
        beside = crowd.asked.take()
        print(f"a newcomer's connection: {alone} requests alone, {beside} beside")
        assert beside < alone + 100

    run(tmp_path, body)


@pytest.mark.parametrize("written", [("4",), ("1", "3"), ("x", "7", "?")], ids=str)
def test_a_query_waits_for_no_queue_of_another_guest_s_events(
    written: tuple[str, ...], tmp_path: Path
) -> None:
    async def body(crowd: Crowd) -> None:
        crowd.backend.run()
        hand = await with_junk(crowd)
        await crowd.newcomer(HONEST)
        await settled(crowd)
        stream = crowd.front(HONEST).streams()[0]
        assert stream.link is not None
        for number in range(1000):
            hand.write(f"{DIRECTORY}/state", written[number % len(written)])
        crowd.asked.take()
        await stream.link.ask(packets.QueryRequest(0, from_stream_config(stream.config)))
        waited = crowd.asked.take()
        print(f"until a query was answered: {waited} requests")
        assert waited < 200

    run(tmp_path, body)


def test_of_many_states_the_newest_is_acted_on(tmp_path: Path) -> None:
    async def body(crowd: Crowd) -> None:
        crowd.backend.run()
        hand = await with_junk(crowd)
        await settled(crowd)
        steps: list[XenbusState] = []
        device = crowd.back(BUSY)
        write = device._write_state
        device._write_state = lambda: (steps.append(device.state), write())  # type: ignore
        for state in (4, 1, 3, 4, 7, 1) * 200:
            hand.write(f"{DIRECTORY}/state", str(state))
        await wait_for(lambda: device.idle and device.state is XenbusState.INIT_WAIT)
        assert steps == [XenbusState.INIT_WAIT]

    run(tmp_path, body)


# --- how much at all ------------------------------------------------------------------------------


async def flood(count: int, write: Callable[[int], None]) -> float:
    """Gives everybody a turn after each write; how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(count):
        write(number)
        await asyncio.sleep(0)
    return loop.time() - began


@pytest.mark.parametrize("junk", [0, NODES])
@pytest.mark.parametrize("states", [("4",), ("1", "3", "4"), ("x", "y")], ids=str)
def test_what_a_guest_s_states_cost_is_bounded(
    states: tuple[str, ...], junk: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(crowd: Crowd) -> None:
        crowd.backend.run()
        hand = await with_junk(crowd, junk)
        await settled(crowd)
        crowd.asked.take()
        caplog.clear()
        took = await flood(
            2000, lambda number: hand.write(f"{DIRECTORY}/state", states[number % len(states)])
        )
        asked, lines = crowd.asked.take(), len(caplog.messages)
        print(f"{states}: {asked} requests, {lines} lines in {took:.1f} s")
        assert asked < 6000 + 300 * took
        assert lines < 100
        hand.write(f"{DIRECTORY}/state", "6")

    with caplog.at_level(logging.INFO):
        run(tmp_path, body)


def test_a_backend_that_flaps_its_state_costs_the_frontend_a_bounded_number_of_attempts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(crowd: Crowd) -> None:
        guest = crowd.create(BUSY)
        asked = Counted(guest.store)
        frontend = crowd.start(guest)
        directory = f"/local/domain/0/backend/vsnd/{BUSY}/0"
        crowd.host.store.write(f"{directory}/state", "2")
        await wait_for(
            lambda: (
                bool(frontend.devices) and frontend.devices["0"].state is XenbusState.INITIALISED
            )
        )
        attempts: list[Action] = []
        device = crowd.front(BUSY)
        act = device.act

        async def counted(action: Action) -> None:
            attempts.append(action)
            await act(action)

        device.act = counted  # type: ignore[method-assign]
        took = await flood(
            3000,
            lambda number: crowd.host.store.write(f"{directory}/state", "42"[number % 2]),
        )
        published = attempts.count(Action.PUBLISH)
        print(f"{published} attempts, {asked.take()} requests in {took:.1f} s")
        assert published < 60 + 2 * took
        assert len(caplog.messages) < 200
        crowd.host.store.write(f"{directory}/state", "6")

    with caplog.at_level(logging.INFO):
        run(tmp_path, body)


def test_while_a_peer_is_held_off_its_writes_are_no_events_and_then_the_newest_counts(
    tmp_path: Path,
) -> None:
    async def body(crowd: Crowd) -> None:
        crowd.backend.run()
        hand = await with_junk(crowd, 0)
        await settled(crowd)
        device = crowd.back(BUSY)
        device.spend(BURST_REQUESTS)
        device.spend(1)
        hand.write(f"{DIRECTORY}/state", "4")
        await wait_for(lambda: device._peer_watch is None)
        assert crowd.host.store.read("domid") == "0"  # after all events so far
        watches = [watch.path for watch in crowd.host.store._watches.values()]
        assert f"{device.peer}/state" not in watches
        hand.write(f"{DIRECTORY}/state", "1")
        await wait_for(lambda: device.state is XenbusState.INIT_WAIT)
        assert device._peer_watch is not None

    run(tmp_path, body)


# --- nothing twice --------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["backend", "frontend"])
def test_both_ends_connect_once(first: str, tmp_path: Path) -> None:
    async def body(crowd: Crowd) -> None:
        guest = crowd.create(BUSY)
        frontend = None
        if first == "frontend":
            frontend = crowd.start(guest)
        crowd.backend.run()
        if frontend is None:
            frontend = crowd.start(guest)
        counted = Counted(guest.store)
        await crowd.connected(BUSY)
        await settled(crowd)
        path = f"{DIRECTORY}/0/0/ring-ref"
        assert counted.asked.count(("WRITE", path)) == 1

    run(tmp_path, body)
