"""Directories that come and go: each is looked at when something happened in it, and no other."""

from __future__ import annotations

import asyncio
from pathlib import Path

from waiting import wait_for
from xenpvaudio.errors import ConfigError
from xenpvaudio.xen.real.xenstore import open_socket
from xenpvaudio.xen.sim.paths import XENSTORE, socket_path
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xenbus import discovery
from xenpvaudio.xenbus.discovery import Discovery, Key

ROOT = "/back"


class Found:
    """Takes charge of what has a `frontend`; one whose `frontend` is "bad" is an error."""

    def __init__(self, directory: Path) -> None:
        path = socket_path(str(directory), 0, XENSTORE)
        self.store = open_socket(path)
        self.writer = open_socket(path, call_soon=lambda *_: None)
        self.looked: list[Key] = []
        self.taken: list[Key] = []
        self.discovery = Discovery(self.store, ROOT, 2, self._consider)

    def _consider(self, key: Key) -> bool:
        self.looked.append(key)
        text = self.store.get(f"{ROOT}/{key[0]}/{key[1]}/frontend")
        if text == "bad":
            raise ConfigError("bad")
        if text is not None:
            self.taken.append(key)
        return text is not None

    def put(self, key: Key, text: str = "x") -> None:
        self.writer.write(f"{ROOT}/{key[0]}/{key[1]}/frontend", text)

    async def settle(self) -> None:
        for _ in range(10):
            self.store.read("/")
            await asyncio.sleep(0)

    def close(self) -> None:
        self.discovery.stop()
        self.store.close()
        self.writer.close()


def test_a_device_is_found_whether_it_was_there_before_or_came_later(tmp_path: Path) -> None:
    async def main() -> None:
        found = Found(tmp_path)
        found.put(("1", "0"))
        found.discovery.run()
        await found.settle()
        found.put(("1", "1"))
        found.put(("x", "0"))
        await found.settle()
        assert found.taken == [("1", "0"), ("1", "1")]
        found.close()

    with start_hypervisor(tmp_path):
        asyncio.run(main())


def test_writes_below_a_device_in_charge_are_looked_at_by_nobody_here(tmp_path: Path) -> None:
    async def main() -> None:
        found = Found(tmp_path)
        for guest in range(20):
            found.put((str(guest), "0"))
        found.discovery.run()
        await found.settle()
        assert len(found.taken) == 20
        found.looked.clear()
        for _ in range(100):
            found.writer.write(f"{ROOT}/1/0/state", "4")
            await found.settle()
        found.put(("30", "0"))
        await found.settle()
        assert found.looked == [("30", "0")]
        found.close()

    with start_hypervisor(tmp_path):
        asyncio.run(main())


def test_one_that_cannot_be_hides_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        found = Found(tmp_path)
        found.put(("1", "0"), "bad")
        found.put(("2", "0"))
        found.discovery.run()
        await found.settle()
        assert found.taken == [("2", "0")]
        found.close()

    with start_hypervisor(tmp_path):
        asyncio.run(main())


def test_one_that_ends_again_and_again_is_found_ever_later_and_one_plugged_anew_at_once(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        found = Found(tmp_path)
        key = ("1", "0")
        found.put(key)
        found.discovery.run()
        await found.settle()
        loop = asyncio.get_running_loop()
        held: list[float] = []
        for ended in range(1, 4):
            before = loop.time()
            found.discovery.ended(key, there=True)
            for _ in range(5):  # what happens below it meanwhile changes nothing
                found.put(key)
                await found.settle()
            await wait_for(lambda ended=ended: len(found.taken) == ended + 1)  # type: ignore[misc]
            held.append(loop.time() - before)
        first = discovery.FIRST_HOLD_SEC
        assert held[0] >= first
        assert held[1] >= 2 * first
        assert held[2] >= 4 * first
        found.writer.remove(f"{ROOT}/1/0")
        found.discovery.ended(key, there=False)
        await found.settle()
        before = len(found.taken)
        found.put(key)
        await found.settle()
        assert len(found.taken) == before + 1
        found.close()

    with start_hypervisor(tmp_path):
        asyncio.run(main())
