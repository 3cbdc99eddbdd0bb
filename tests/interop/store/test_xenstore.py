"""One XenStore test-suite, run over the simulated store and over Debian's real xenstored.

What passes here on both is what the rest of the project may rely on.
"""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.world import INTRODUCE, Events, World, code, make_world
from xenpvaudio.errors import UnavailableError
from xenpvaudio.xen.api import (
    AccessError,
    ConflictError,
    NotFoundError,
    QuotaError,
    StoreGoneError,
    Txn,
    XenStoreError,
)
from xenpvaudio.xen.real.xenstore import PyxsStore, open_socket


@pytest.fixture(params=["simulated", "xenstored"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    world = make_world(request.param, tmp_path)
    yield world
    world.close()


# ---- values and paths ----


@pytest.mark.parametrize(
    "value", ["1", "", "né", "a\nb", "with spaces ", "\udcff\udc80", "nul\0inside", "x" * 4000]
)
def test_value_is_read_back_as_written(world: World, value: str) -> None:
    world.dom0.write("/t/a", value)
    assert world.dom0.read("/t/a") == value


def test_value_too_long_for_a_message_is_refused(world: World) -> None:
    with pytest.raises(QuotaError):
        world.dom0.write("/t/a", "x" * 4097)
    assert not world.dom0.exists("/t/a")


def test_absent_node_is_not_found(world: World) -> None:
    with pytest.raises(NotFoundError, match="read /nothing/here"):
        world.dom0.read("/nothing/here")
    assert world.dom0.get("/nothing/here") is None
    assert world.dom0.get("/nothing/here", "x") == "x"
    assert not world.dom0.exists("/nothing/here")


def test_write_makes_parents_with_empty_values(world: World) -> None:
    world.dom0.write("/t/a/b", "1")
    assert world.dom0.read("/t/a") == ""
    assert world.dom0.list("/t") == ["a"]
    assert world.dom0.list("/t/a/b") == []


def test_mkdir_keeps_what_is_there(world: World) -> None:
    world.dom0.write("/t/a", "1")
    world.dom0.mkdir("/t/a")
    assert world.dom0.read("/t/a") == "1"


def test_remove_takes_everything_below(world: World) -> None:
    world.dom0.write("/t/a/b/c", "1")
    world.dom0.remove("/t/a")
    assert not world.dom0.exists("/t/a/b/c")
    assert world.dom0.list("/t") == []


def test_removing_the_absent_is_fine_where_the_parent_is(world: World) -> None:
    world.dom0.mkdir("/t")
    world.dom0.remove("/t/a")
    with pytest.raises(NotFoundError):
        world.dom0.remove("/u/a/b")


def test_root_cannot_be_removed(world: World) -> None:
    assert code(lambda: world.dom0.remove("/")) == errno.EINVAL


@pytest.mark.parametrize("path", ["/t//a", "/t/", "/t/a.b", "/t/a b", "/t/é", "", "/a\0b"])
def test_malformed_path_is_invalid(world: World, path: str) -> None:
    assert code(lambda: world.dom0.write(path, "1")) == errno.EINVAL
    assert code(lambda: world.dom0.read(path)) == errno.EINVAL


@pytest.mark.parametrize(("length", "expected"), [(2048, 0), (2049, errno.EINVAL)])
def test_path_may_be_2048_bytes_long(world: World, length: int, expected: int) -> None:
    path = "/" + "a" * (length - 1)
    guest = world.guest(3)
    assert code(lambda: guest.read(path)) == (expected or errno.EACCES)
    # Xen 4.17 limits everybody, 4.20 only guests
    assert code(lambda: world.dom0.write(path, "1")) == (expected if world.xen_minor < 20 else 0)


def test_home_does_not_count_in_a_path_s_length(world: World) -> None:
    home = "/local/domain/3/data/"
    longest = 2048 - len("data/")
    guest = world.guest(3)
    assert code(lambda: guest.read(home + "a" * longest)) == errno.ENOENT
    assert code(lambda: guest.read(home + "a" * (longest + 1))) == errno.EINVAL
    beyond = errno.EINVAL if world.xen_minor < 20 else 0  # as above
    assert code(lambda: world.dom0.write(home + "a" * longest, "1")) == 0
    assert code(lambda: world.dom0.write(home + "a" * (longest + 1), "1")) == beyond


def test_directory_larger_than_a_message_is_listed(world: World) -> None:
    names = {f"entry-{number:04}-abcdefghij" for number in range(700)}
    for name in names:
        world.dom0.mkdir(f"/big/{name}")
    listed = world.dom0.list("/big")
    assert len(listed) == len(names)
    assert set(listed) == names


def test_relative_path_starts_at_home(world: World) -> None:
    guest = world.guest(3)
    guest.write("data/x", "1")
    assert guest.read("/local/domain/3/data/x") == "1"
    world.dom0.write("y", "2")
    assert world.dom0.read("/local/domain/0/y") == "2"
    assert guest.domain_path(3) == "/local/domain/3"


# ---- permissions ----


def test_permissions_are_kept_and_inherited(world: World) -> None:
    world.guest(3)
    world.dom0.mkdir("/t")
    world.dom0.set_perms("/t", ["n0", "r3"])
    world.dom0.write("/t/a", "1")
    assert world.dom0.get_perms("/t/a") == ["n0", "r3"]


def test_guest_owns_what_it_makes(world: World) -> None:
    guest = world.guest(3)
    world.dom0.mkdir("/t")
    world.dom0.set_perms("/t", ["n0", "b3"])
    guest.write("/t/a/b", "1")
    assert guest.get_perms("/t/a") == ["n3", "b3"]
    assert guest.get_perms("/t/a/b") == ["n3", "b3"]


def test_node_made_by_dom0_belongs_to_its_parent_s_owner(world: World) -> None:
    guest = world.guest(3)
    world.dom0.write("/local/domain/3/data/state", "1")
    assert world.dom0.get_perms("/local/domain/3/data/state") == ["n3"]
    guest.write("data/state", "2")


@pytest.mark.parametrize(
    ("perms", "may_read", "may_write"),
    [
        (["n0"], False, False),
        (["n0", "r3"], True, False),
        (["n0", "w3"], False, True),
        (["n0", "b3"], True, True),
        (["r0"], True, False),
        (["b0", "n3"], False, False),
        (["n3"], True, True),
    ],
)
def test_permission_letters_mean(
    world: World, perms: list[str], may_read: bool, may_write: bool
) -> None:
    guest = world.guest(3)
    world.dom0.write("/t/a", "1")
    world.dom0.set_perms("/t/a", perms)
    assert code(lambda: guest.read("/t/a")) == (0 if may_read else errno.EACCES)
    assert code(lambda: guest.list("/t/a")) == (0 if may_read else errno.EACCES)
    assert code(lambda: guest.write("/t/a", "2")) == (0 if may_write else errno.EACCES)


def test_guest_does_not_learn_what_exists_elsewhere(world: World) -> None:
    guest = world.guest(3)
    world.guest(4)
    world.dom0.write("/secret", "x")
    for path in ("/secret", "/nothing", "/local/domain/4/data/x", "/local/domain/9"):
        with pytest.raises(AccessError):
            guest.read(path)
    with pytest.raises(NotFoundError):
        guest.read("data/nothing")


def test_guest_cannot_give_its_nodes_away(world: World) -> None:
    guest = world.guest(3)
    guest.write("data/x", "1")
    assert code(lambda: guest.set_perms("data/x", ["n0"])) == errno.EPERM
    assert code(lambda: guest.set_perms("data/x", ["n3", "r0"])) == 0
    assert code(lambda: guest.set_perms("/local/domain/3", ["n3"])) == errno.EACCES


@pytest.mark.parametrize("perms", [["x0"], ["n"], ["nx"], ["0"]])
def test_malformed_permissions_are_refused(world: World, perms: list[str]) -> None:
    world.dom0.write("/t/a", "1")
    assert code(lambda: world.dom0.set_perms("/t/a", perms)) == errno.EINVAL


def test_owner_must_exist(world: World) -> None:
    world.dom0.write("/t/a", "1")
    assert code(lambda: world.dom0.set_perms("/t/a", ["n55"])) == errno.ENOENT


def test_guest_cannot_introduce_domains(world: World) -> None:
    guest = world.guest(3)
    assert code(lambda: guest.request(INTRODUCE, "x", b"4\0001\0007\0")) == errno.EACCES


# ---- quotas ----


def test_guest_s_nodes_are_limited_to_1000(world: World) -> None:
    guest = world.guest(3)
    made = 0
    with pytest.raises(QuotaError):
        for made in range(2000):
            guest.write(f"data/{made % 40}/{made // 40}", "v")
    # Its own directory, and 40 more, count too.
    assert made == 1000 - 41
    guest.remove("data/0")
    guest.write("data/room", "v")
    for number in range(1100):
        world.dom0.mkdir(f"/t/{number % 40}/{number}")


def test_guest_s_value_is_limited_to_a_little_under_2048(world: World) -> None:
    guest = world.guest(3)
    guest.write("data/x", "v" * 2000)
    with pytest.raises(QuotaError):
        guest.write("data/x", "v" * 2048)
    assert len(guest.read("data/x")) == 2000
    world.dom0.write("/t/x", "v" * 3000)


def test_guest_s_watches_are_limited(world: World) -> None:
    guest = world.guest(3)
    watches = []
    with pytest.raises(QuotaError):
        for number in range(300):
            watches.append(guest.watch(f"data/{number}", lambda _path: None))
    assert len(watches) == 129
    watches[0].cancel()
    guest.watch("data/again", lambda _path: None)


# ---- transactions ----


def test_transaction_is_seen_all_at_once(world: World) -> None:
    other = world.connect(0)

    def fn(tx: Txn) -> str:
        tx.write("/t/a", "1")
        tx.mkdir("/t/d")
        tx.set_perms("/t/d", ["r0"])
        assert tx.read("/t/a") == "1"
        assert tx.exists("/t/d")
        assert set(tx.list("/t")) == {"a", "d"}
        assert tx.get_perms("/t/d") == ["r0"]
        assert not other.exists("/t")
        return "result"

    assert world.dom0.transact(fn) == "result"
    assert other.read("/t/a") == "1"
    assert other.get_perms("/t/d") == ["r0"]


def test_transaction_reads_one_moment(world: World) -> None:
    other = world.connect(0)
    world.dom0.write("/t/a", "old")
    seen: list[str] = []

    def fn(tx: Txn) -> None:
        seen.append(tx.read("/t/a"))
        if len(seen) == 1:
            other.write("/t/a", "new")
            seen.append(tx.read("/t/a"))

    world.dom0.transact(fn)
    assert seen == ["old", "old", "new"]


def test_conflicting_transaction_runs_again(world: World) -> None:
    other = world.connect(0)
    world.dom0.write("/t/n", "0")
    runs = 0

    def increment(tx: Txn) -> None:
        nonlocal runs
        runs += 1
        value = int(tx.read("/t/n"))
        if runs < 3:
            other.write("/t/n", str(100 * runs))
        tx.write("/t/n", str(value + 1))

    world.dom0.transact(increment)
    assert runs == 3
    assert world.dom0.read("/t/n") == "201"


def test_node_that_appears_is_a_conflict(world: World) -> None:
    other = world.connect(0)
    world.dom0.mkdir("/t")
    runs = 0

    def fn(tx: Txn) -> bool:
        nonlocal runs
        runs += 1
        there = tx.exists("/t/a")
        if runs == 1:
            other.write("/t/a", "1")
        tx.write("/t/b", "1")
        return there

    assert world.dom0.transact(fn)
    assert runs == 2


def test_transaction_gives_up_after_its_attempts(world: World) -> None:
    other = world.connect(0)
    world.dom0.write("/t/n", "0")

    def fn(tx: Txn) -> None:
        other.write("/t/n", tx.read("/t/n") + "x")
        tx.write("/t/n", "mine")

    with pytest.raises(ConflictError, match="3 times"):
        world.dom0.transact(fn, attempts=3)
    assert world.dom0.read("/t/n") == "0xxx"


def test_exception_in_a_transaction_writes_nothing(world: World) -> None:
    def fn(tx: Txn) -> None:
        tx.write("/t/a", "1")
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        world.dom0.transact(fn)
    assert not world.dom0.exists("/t/a")


def test_many_transactions_from_two_connections_lose_no_increment(world: World) -> None:
    world.dom0.write("/t/n", "0")

    def increment(tx: Txn) -> None:
        tx.write("/t/n", str(int(tx.read("/t/n")) + 1))

    def work(store: PyxsStore) -> None:
        for _ in range(50):
            store.transact(increment, attempts=1000)

    threads = [threading.Thread(target=work, args=(world.connect(0),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.dom0.read("/t/n") == "100"


def test_guest_s_open_transactions_are_limited(world: World) -> None:
    guest = world.guest(3)

    def nest(tx: Txn) -> None:
        guest.transact(nest)

    with pytest.raises(QuotaError):
        guest.transact(nest)
    guest.transact(lambda tx: tx.write("data/x", "1"))


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
