"""What one owner cannot do costs nobody else anything: the engine's handlers and watchers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

import pytest

from xenpvaudio.engine.engine import Engine
from xenpvaudio.errors import InternalError, PeerGoneError, XenPvAudioError, internal_error
from xenpvaudio_native.pipewire import Pipewire
from xenpvaudio_native.plane import Notice, NoticeKind, Plane


class Reports:
    """Stands at the end of the queues: what the data loop and PipeWire have to say."""

    def __init__(self, *items: object) -> None:
        self._items = items

    def notices(self) -> Iterator[object]:
        return iter(self._items)

    def lost_notices(self) -> int:
        return 0

    def connect(self) -> None:
        """A daemon answers."""


def notice(stream_id: int) -> Notice:
    return Notice(NoticeKind.RELEASED, stream_id, 0, b"")


def raising(error: Exception) -> None:
    raise error


def test_a_handler_that_raises_strands_nobody_and_its_owner_is_told() -> None:
    async def body() -> None:
        engine = Engine(None)
        plane = engine.plane
        served: list[int] = []
        failed: list[XenPvAudioError] = []
        engine.on_notice(1, lambda _notice: raising(ValueError("odd")), failed.append, "one")
        engine.on_notice(2, lambda seen: served.append(seen.stream_id), failed.append, "two")
        engine.plane = cast(Plane, Reports(notice(1), notice(2), notice(1)))
        engine._dispatch_notices()
        engine.plane = plane
        engine.close()
        assert served == [2]
        assert len(failed) == 2
        assert isinstance(failed[0], InternalError)
        assert str(failed[0]).startswith("one: unexpected ValueError: odd at test_engine.py:")

    asyncio.run(body())


def test_our_own_errors_reach_the_owner_as_they_are() -> None:
    async def body() -> None:
        engine = Engine(None)
        plane, error = engine.plane, PeerGoneError("the peer is gone")
        failed: list[XenPvAudioError] = []
        engine.on_notice(1, lambda _notice: raising(error), failed.append, "one")
        engine.plane = cast(Plane, Reports(notice(1)))
        engine._dispatch_notices()
        engine.plane = plane
        engine.close()
        assert failed == [error]

    asyncio.run(body())


def test_one_watcher_that_raises_leaves_no_other_silent(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        engine = Engine(None)
        told: list[bool] = []
        engine.watch_pipewire(lambda _up: raising(PeerGoneError("no stream")))
        engine.watch_pipewire(lambda _up: raising(OSError(24, "Too many open files")))
        engine.watch_pipewire(told.append)
        engine.pipewire = cast(Pipewire, Reports())
        engine.connect_pipewire()
        engine.pipewire = None
        engine.close()
        assert told == [True]
        lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert len(lines) == 2
        assert lines[0] == "no stream"
        assert "Too many open files" in lines[1]

    asyncio.run(body())


def test_an_internal_error_is_one_line_that_names_the_place() -> None:
    try:
        raising(KeyError("two\nlines"))
    except KeyError as error:
        text = str(internal_error("vsnd/0", error))
    assert "\n" not in text
    assert text.startswith("vsnd/0: unexpected KeyError: ")
    assert "test_engine.py:" in text
