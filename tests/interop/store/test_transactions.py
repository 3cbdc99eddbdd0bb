"""XenStore: transactions."""

from __future__ import annotations

import threading

import pytest

from interop.world import World
from xenpvaudio.xen.api import (
    ConflictError,
    QuotaError,
    Txn,
)
from xenpvaudio.xen.real.xenstore import PyxsStore

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
