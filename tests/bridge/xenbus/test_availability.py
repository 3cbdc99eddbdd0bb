"""The availability extension's two ends over a store: what is told, when, and how often at most."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from waiting import wait_for
from xenpvaudio.xen.api import QuotaError, XenStore
from xenpvaudio.xen.sim.domain import connect
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack
from xenpvaudio.xenbus import availability
from xenpvaudio.xenbus.availability import AvailabilityNode, AvailabilityWatch

BACK = "/local/domain/0/backend/vsnd/1/0"
NODE = f"{BACK}/unavailable-streams"
LOG = logging.getLogger(__name__)


class Ends:
    """A host's and a guest's store, and the guest's end; `told`: what it knew after each change."""

    def __init__(self, host: XenStore, guest: XenStore) -> None:
        self.host, self.guest = host, guest
        self.told: list[frozenset[str] | None] = []
        self.watch = AvailabilityWatch(
            guest, BACK, lambda: self.told.append(self.watch.unavailable), LOG
        )


def run(tmp_path: Path, body: Callable[[Ends], object]) -> None:
    async def session() -> None:
        sim = str(tmp_path / "xen")
        loop = asyncio.get_running_loop()
        with start_hypervisor(tmp_path / "xen"), Toolstack(sim) as tools:
            tools.create_domain(1, "work")
            tools.attach_vsnd(1, 0, {})
            host = connect(sim, 0, loop.call_soon_threadsafe)
            guest = connect(sim, 1, loop.call_soon_threadsafe)
            ends = Ends(host.store, guest.store)
            try:
                await body(ends)  # type: ignore[misc]
            finally:
                ends.watch.stop()
                guest.close()
                host.close()

    asyncio.run(session())


def test_what_the_backend_tells_the_frontend_knows(tmp_path: Path) -> None:
    async def body(ends: Ends) -> None:
        node = AvailabilityNode(ends.host, BACK, LOG)
        node.tell(["0/1"])
        ends.watch.start()
        await wait_for(lambda: ends.told == [frozenset({"0/1"})])
        node.tell(())
        await wait_for(lambda: ends.told[1:] == [frozenset()])
        node.tell(["1/0", "0/1"])
        await wait_for(lambda: ends.told[2:] == [frozenset({"0/1", "1/0"})])
        assert ends.host.read(NODE) == "0/1,1/0"

    run(tmp_path, body)


def test_a_backend_without_the_extension_says_nothing(tmp_path: Path) -> None:
    async def body(ends: Ends) -> None:
        ends.watch.start()
        AvailabilityNode(ends.host, BACK, LOG).tell(["0/1"])
        await wait_for(lambda: ends.told == [frozenset({"0/1"})])
        ends.host.remove(NODE)  # another backend
        await wait_for(lambda: ends.told[1:] == [None])

    run(tmp_path, body)


def test_a_removed_device_does_not_come_back_by_it(tmp_path: Path) -> None:
    async def body(ends: Ends) -> None:
        ends.host.remove(BACK)
        AvailabilityNode(ends.host, BACK, LOG).tell(["0/1"])
        assert not ends.host.exists(BACK)

    run(tmp_path, body)


def test_a_flapping_backend_is_looked_at_once_in_a_while_and_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By counts: however slow this machine is, two looks are HOLD_SEC apart."""
    looked: list[float] = []

    async def body(ends: Ends) -> None:
        loop = asyncio.get_running_loop()
        real = ends.guest.get

        def get(path: str, default: str | None = None) -> str | None:
            looked.append(loop.time())
            return real(path, default)

        monkeypatch.setattr(ends.guest, "get", get)
        ends.watch.start()
        for turn in range(2000):
            ends.host.write(NODE, "0/1" if turn % 2 else "")
            if turn % 20 == 0:
                await asyncio.sleep(0)
        await wait_for(lambda: ends.watch.unavailable == frozenset({"0/1"}))
        apart = [after - before for before, after in pairwise(looked)]
        assert all(seconds >= availability.HOLD_SEC * 0.99 for seconds in apart), apart
        count = len(looked)
        await asyncio.sleep(2.2 * availability.HOLD_SEC)  # nothing changes: nobody looks
        assert len(looked) <= count + 1

    run(tmp_path, body)


@pytest.mark.parametrize("text", [",,,", "0/1,../../x,0/1", "x" * 3000, "\udcff,0/1"])
def test_whatever_stands_there_is_a_set_of_words(tmp_path: Path, text: str) -> None:
    async def body(ends: Ends) -> None:
        ends.host.write(NODE, text)
        ends.watch.start()
        await wait_for(lambda: bool(ends.told))
        assert ends.told == [frozenset(filter(None, text.split(",")))]

    run(tmp_path, body)


def test_a_store_that_refuses_is_told_later_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(availability, "REWRITE_SEC", 0.02)
    refused = 3

    async def body(ends: Ends) -> None:
        real = ends.host.transact

        def transact(*arguments: object, **more: object) -> object:
            nonlocal refused
            if refused:
                refused -= 1
                raise QuotaError("XenStore: cannot write: no room")
            return real(*arguments, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(ends.host, "transact", transact)
        AvailabilityNode(ends.host, BACK, LOG).tell(["0/1"])
        await wait_for(lambda: ends.host.get(NODE) == "0/1")

    run(tmp_path, body)
    assert len([line for line in caplog.messages if "no room" in line]) == 1
