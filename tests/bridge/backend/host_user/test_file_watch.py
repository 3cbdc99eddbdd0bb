"""Whatever is done to a file is told, and what is done beside it is not."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from waiting import wait_for
from xenpvaudio.backend.host_user import file_watch
from xenpvaudio.backend.host_user.file_watch import FileWatch

QUIET_SEC = 0.3


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watch, "SETTLE_SEC", 0.02)


class Told:
    """What the file was each time that a look was asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seen: list[str | None] = []

    def look(self) -> None:
        try:
            self.seen.append(self._path.read_text())
        except OSError:
            self.seen.append(None)

    async def comes(self, text: str | None) -> None:
        await wait_for(lambda: bool(self.seen) and self.seen[-1] == text)
        await asyncio.sleep(QUIET_SEC)  # what else the change brings
        self.seen.clear()


def run(path: Path, body: Callable[[Told], Awaitable[None]]) -> None:
    async def session() -> None:
        told = Told(path)
        watch = FileWatch(path, told.look)
        watch.start()
        try:
            await body(told)
        finally:
            watch.stop()

    asyncio.run(session())


def test_an_editors_ways_to_write_are_told(tmp_path: Path) -> None:
    path = tmp_path / "backend.toml"
    path.write_text("old")

    async def body(told: Told) -> None:
        path.write_text("written")
        await told.comes("written")
        with path.open("a") as file:
            file.write(" more")
        await told.comes("written more")
        (tmp_path / "new").write_text("moved")
        os.replace(tmp_path / "new", path)
        await told.comes("moved")
        path.unlink()
        await told.comes(None)
        path.write_text("again")
        await told.comes("again")

    run(path, body)


def test_directories_of_the_path_may_come_later_and_go(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "backend.toml"

    async def body(told: Told) -> None:
        path.parent.mkdir(parents=True)
        path.write_text("there")
        await told.comes("there")
        path.write_text("other")
        await told.comes("other")
        (tmp_path / "a").rename(tmp_path / "away")
        await told.comes(None)
        (tmp_path / "away").rename(tmp_path / "a")
        await told.comes("other")
        path.unlink()
        path.parent.rmdir()
        await told.comes(None)
        path.parent.mkdir()
        path.write_text("back")
        await told.comes("back")

    run(path, body)


def test_a_link_that_points_elsewhere_is_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "backend.toml").write_text(name)
    (tmp_path / "current").symlink_to("one")
    (tmp_path / "new").symlink_to(tmp_path / "two")

    async def body(told: Told) -> None:
        (tmp_path / "one" / "backend.toml").write_text("one, too")
        await told.comes("one, too")
        os.replace(tmp_path / "new", tmp_path / "current")
        await told.comes("two")
        (tmp_path / "two" / "backend.toml").write_text("two, too")
        await told.comes("two, too")

    run(tmp_path / "current" / "backend.toml", body)


def test_what_happens_beside_the_way_wakes_nobody(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "xen-pv-audio" / "backend.toml"
    path.parent.mkdir(parents=True)
    path.write_text("old")

    async def body(told: Told) -> None:
        for _ in range(100):
            (tmp_path / "other").write_text("x")
            (tmp_path / "etc" / "other").write_text("x")
            (tmp_path / "etc" / "other").unlink()
            path.read_text()
        await asyncio.sleep(QUIET_SEC)
        assert told.seen == []
        path.write_text("new")
        await told.comes("new")

    run(path, body)


def test_a_directory_that_is_written_to_all_the_time_costs_a_look_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_watch, "SETTLE_SEC", 10.0)
    path = tmp_path / "backend.toml"

    async def body(told: Told) -> None:
        watch = FileWatch(path, told.look)
        watch.start()
        for number in range(200):
            (tmp_path / f"{number}").write_text("x")
            await asyncio.sleep(0)
        assert watch._timer is not None
        due = watch._timer.when()
        (tmp_path / "one-more").write_text("x")
        await asyncio.sleep(QUIET_SEC)
        assert watch._timer.when() == due and told.seen == []
        watch.stop()

    run(path, body)


def test_where_no_descriptor_is_left_it_is_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_watch, "LOOK_SEC", 0.02)
    path = tmp_path / "backend.toml"

    async def session() -> None:
        told = Told(path)
        watch = FileWatch(path, told.look)
        usual, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            watch.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (usual, hard))
        assert watch._inotify is None
        path.write_text("new")
        await told.comes("new")
        watch.stop()
        await asyncio.sleep(QUIET_SEC)
        assert told.seen == []

    asyncio.run(session())
