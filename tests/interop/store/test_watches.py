"""XenStore: watches, and a daemon that freezes or dies."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import threading
import time
from pathlib import Path

import pytest

from interop.world import Events, World
from xenpvaudio.errors import UnavailableError
from xenpvaudio.xen.api import (
    AccessError,
    StoreGoneError,
    Txn,
    XenStoreError,
)
from xenpvaudio.xen.real.xenstore import open_socket

# ---- watches ----


def test_watch_fires_at_once_and_on_each_change(world: World) -> None:
    writer = world.connect(0)
    events = Events(world.dom0, "/t/a")
    assert events.take() == ["/t/a"]
    writer.write("/t/a", "1")
    writer.write("/t/a", "1")
    writer.set_perms("/t/a", ["r0"])
    writer.write("/t/a/b/c", "1")
    writer.mkdir("/t/a/b")
    writer.mkdir("/t/a/d")
    writer.write("/t/other", "1")
    assert events.take() == ["/t/a", "/t/a", "/t/a", "/t/a/b/c", "/t/a/d"]


def test_own_writes_fire_own_watches(world: World) -> None:
    events = Events(world.dom0, "/t/a")
    # xenstored makes one of two equal events that nobody has read yet
    assert events.wait() == "/t/a"
    world.dom0.write("/t/a", "1")
    assert events.wait() == "/t/a"
    assert events.take() == []


def test_removal_is_told_above_once_and_to_each_watched_node_below(world: World) -> None:
    world.dom0.write("/t/a/b/c", "1")
    above, at, below = (Events(world.dom0, path) for path in ("/t", "/t/a", "/t/a/b/c"))
    for events in (above, at, below):
        events.take()
    world.dom0.remove("/t/a")
    assert above.take() == ["/t/a"]
    assert at.take() == ["/t/a"]
    assert below.take() == ["/t/a/b/c"]


def test_relative_watch_tells_relative_paths(world: World) -> None:
    guest = world.guest(3)
    events = Events(guest, "data")
    world.dom0.write("/local/domain/3/data/x", "1")
    assert events.take() == ["data", "data/x"]


def test_two_watches_of_one_path_are_two(world: World) -> None:
    first, second = Events(world.dom0, "/t"), Events(world.dom0, "/t")
    world.dom0.mkdir("/t/b")  # not /t: xenstored makes one of two equal unread events
    first.watch.cancel()
    world.dom0.write("/t/a", "1")
    assert first.take() == ["/t", "/t/b"]
    assert second.take() == ["/t", "/t/b", "/t/a"]


def test_cancelled_watch_is_silent_and_cancel_is_idempotent(world: World) -> None:
    events = Events(world.dom0, "/t")
    events.take()
    events.watch.cancel()
    events.watch.cancel()
    world.dom0.write("/t", "1")
    assert events.take() == []


def test_committed_transaction_fires_and_an_aborted_one_does_not(world: World) -> None:
    events = Events(world.dom0, "/t")
    events.take()

    def fn(tx: Txn) -> None:
        tx.write("/t/a", "1")
        tx.write("/t/b", "1")
        assert events.take() == []

    world.dom0.transact(fn)
    assert events.take() == ["/t/a", "/t/b"]

    def failing(tx: Txn) -> None:
        fn(tx)
        raise ValueError

    with pytest.raises(ValueError):
        world.dom0.transact(failing)
    assert events.take() == []


def test_guest_hears_only_of_what_it_may_read(world: World) -> None:
    guest = world.guest(3)
    events = Events(guest, "/t")
    assert events.take() == ["/t"]
    world.dom0.write("/t/a", "1")
    world.dom0.write("/t/a", "2")
    assert events.take() == []
    world.dom0.set_perms("/t/a", ["n0", "r3"])
    world.dom0.write("/t/a", "3")
    assert events.take() == ["/t/a", "/t/a"]
    world.dom0.set_perms("/t/a", ["n0"])
    world.dom0.write("/t/a", "4")
    assert events.take() == ["/t/a"]  # it lost the right: that it may know


def test_watch_of_a_malformed_path_is_refused_and_leaves_nothing(world: World) -> None:
    for path in ("/t//a", "/t/", ""):
        with pytest.raises(XenStoreError):
            world.dom0.watch(path, lambda _path: None)
    assert world.dom0._watches == {}


# ---- domains ----


def test_domains_coming_and_going_are_told(world: World) -> None:
    come, go = Events(world.dom0, "@introduceDomain"), Events(world.dom0, "@releaseDomain")
    come.take(), go.take()
    guest = world.guest(3)
    guest.write("data/x", "1")
    assert come.take() == ["@introduceDomain"]
    world.server.remove_domain(3)
    assert go.wait() == "@releaseDomain"
    assert not world.dom0.exists("/local/domain/3/data")
    assert world.dom0.exists("/local/domain/3")  # not its own: left to the toolstack


def test_guest_is_not_told_of_other_domains(world: World) -> None:
    guest = world.guest(3)
    events = Events(guest, "@introduceDomain")
    world.guest(4)
    assert events.take() == ["@introduceDomain"]
    world.dom0.set_perms("@introduceDomain", ["n0", "r3"])
    # Xen 4.20 tells those who may read it by then of the permissions, too; 4.17 does not
    assert events.take() == ([] if world.xen_minor < 20 else ["@introduceDomain"])
    world.guest(5)
    assert events.take() == ["@introduceDomain"]


def test_dead_domain_loses_what_others_allowed_it(world: World) -> None:
    go = Events(world.dom0, "@releaseDomain")
    go.wait()
    for domid in (3, 4, 5):
        world.guest(domid)
        world.dom0.write("/t/a", "1")
        world.dom0.set_perms("/t/a", ["n0", f"r{domid}"])
        world.server.remove_domain(domid)
        go.wait()
        again = world.guest(domid)
        try:
            with pytest.raises(AccessError):
                again.read("/t/a")
            return
        except StoreGoneError:  # seen once: the new ring's first event was lost in the shim
            continue
    pytest.fail("no domain that came again was answered")


# ---- the connection ----


def test_callbacks_run_in_the_loop_s_thread_and_never_inside_a_call(world: World) -> None:
    async def main() -> None:
        store = world.connect(0, call_soon=None)
        fired: list[tuple[str, int]] = []
        arrived = asyncio.Event()

        def callback(path: str) -> None:
            fired.append((path, threading.get_ident()))
            arrived.set()

        store.watch("/t", callback)
        store.write("/t/a", "1")  # not /t: xenstored makes one of two equal unread events
        store.read("/t/a")
        assert fired == []
        while len(fired) < 2:
            await arrived.wait()
            arrived.clear()
        assert fired == [(path, threading.get_ident()) for path in ("/t", "/t/a")]

    asyncio.run(asyncio.wait_for(main(), 10))


def test_watch_cancelled_with_an_event_on_its_way_stays_silent(world: World) -> None:
    async def main() -> None:
        store = world.connect(0, call_soon=None)
        fired: list[str] = []
        watch = store.watch("/t", fired.append)
        store.read("/")  # the first event is in the loop's queue
        watch.cancel()
        done = asyncio.Event()
        store.watch("/u", lambda _path: done.set())
        await done.wait()
        assert fired == []

    asyncio.run(asyncio.wait_for(main(), 10))


def test_frozen_daemon_costs_one_time_out(world: World) -> None:
    store = world.connect(0, timeout_sec=0.2)
    os.kill(world.server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreGoneError, match=r"no answer within 0\.2 s"):
            store.read("/tool")
    finally:
        os.kill(world.server.pid, signal.SIGCONT)
    assert store.exists("/tool")


def test_daemon_s_death_is_told_and_watches_come_back_with_it(world: World) -> None:
    lost: queue.SimpleQueue[XenStoreError] = queue.SimpleQueue()
    world.dom0.on_lost = lost.put
    events = Events(world.dom0, "/t")
    gone = Events(world.dom0, "/u")
    assert (events.wait(), gone.wait()) == ("/t", "/u")
    gone.watch.cancel()
    world.server.kill()
    assert isinstance(lost.get(timeout=10), StoreGoneError)
    with pytest.raises(StoreGoneError):
        world.dom0.read("/tool")
    world.server.start()
    assert events.wait() == "/t"  # registered again: its owner looks again
    world.dom0.write("/t", "1")
    assert events.take() == ["/t"]
    world.dom0.write("/u", "1")
    assert gone.take() == []
    assert lost.empty()


def test_daemon_s_death_fails_the_request_under_way(world: World) -> None:
    os.kill(world.server.pid, signal.SIGSTOP)
    failures: queue.SimpleQueue[Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            world.dom0.read("/tool")
        except StoreGoneError as error:
            failures.put(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not world.dom0._link._answers:
        time.sleep(0.001)
    world.server.kill()
    assert "broke" in str(failures.get(timeout=4))  # not the time-out of 5 s
    thread.join()
    world.server.start()


def test_no_daemon_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        open_socket(str(tmp_path / "socket"))
    assert str(caught.value) == (
        f"XenStore does not answer at {tmp_path}/socket (No such file or directory); "
        "is xenstored running, and are you root?"
    )
