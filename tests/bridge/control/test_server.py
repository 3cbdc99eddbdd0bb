"""The control socket: who may ask, what is answered to nonsense, and what lies in its place."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from xenpvaudio.control.client import ask, ask_all
from xenpvaudio.control.place import socket_path
from xenpvaudio.control.server import MOST_ASKERS, MOST_BYTES, ControlServer
from xenpvaudio.errors import ConfigError, UnavailableError
from xenpvaudio.xen.connect import SIM_VARIABLE


def answered(question: dict[str, Any], _user: int) -> dict[str, Any]:
    if question.get("guest") == "nobody":
        raise ConfigError("no guest nobody", hint="there is work")
    if question.get("guest") == "bug":
        raise ZeroDivisionError
    return {"asked": question}


def served(path: Path, body: Callable[[ControlServer], Awaitable[None]]) -> None:
    async def run() -> None:
        server = ControlServer(path, {"status": answered})
        await server.start()
        await body(server)
        server.close()

    asyncio.run(run())


async def said(path: Path, text: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(text)
    writer.write_eof()
    try:
        return await reader.read()
    except ConnectionResetError:  # hung up on before it was read
        return b""
    finally:
        writer.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "xen-pv-audio-backend-0.sock"


def test_only_its_user_may_connect_and_nothing_is_left_at_its_end(path: Path) -> None:
    async def body(_: ControlServer) -> None:
        assert path.stat().st_mode & 0o777 == 0o600

    served(path, body)
    assert not path.exists()


def test_a_question_is_answered(path: Path) -> None:
    async def body(_: ControlServer) -> None:
        answer = await asyncio.to_thread(ask, path, {"ask": "status", "guest": "work"})
        assert answer == {"asked": {"ask": "status", "guest": "work"}}

    served(path, body)


def test_a_refusal_comes_with_its_words_and_its_exit_status(path: Path) -> None:
    async def body(_: ControlServer) -> None:
        with pytest.raises(ConfigError, match="no guest nobody; there is work"):
            await asyncio.to_thread(ask, path, {"ask": "status", "guest": "nobody"})

    served(path, body)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"status\n", "no JSON"),
        (b"\xff\xfe\n", "no JSON"),
        (b"[" * 4000 + b"\n", "no JSON"),
        (b"[1]\n", "not understood"),
        (b'{"ask": ["status"]}\n', ""),
        (b'{"ask": "reboot"}\n', "different versions"),
        (b'{"ask": "status", "guest": "bug"}\n', "please report this"),
    ],
)
def test_nonsense_gets_an_error_and_the_next_one_an_answer(
    text: bytes, word: str, path: Path
) -> None:
    async def body(_: ControlServer) -> None:
        assert word in json.loads(await said(path, text))["error"]
        assert json.loads(await said(path, b'{"ask": "status"}\n'))["answer"]

    served(path, body)


def test_what_is_too_long_or_nothing_is_hung_up_on(path: Path) -> None:
    async def body(_: ControlServer) -> None:
        assert await said(path, b"x" * (2 * MOST_BYTES) + b"\n") == b""
        assert await said(path, b"") == b""
        assert json.loads(await said(path, b'{"ask": "status"}\n'))["answer"]

    served(path, body)


def test_no_more_askers_at_once_than_are_bearable(path: Path) -> None:
    async def body(_: ControlServer) -> None:
        silent = [await asyncio.open_unix_connection(path) for _ in range(MOST_ASKERS)]
        await asyncio.sleep(0.1)
        assert await said(path, b'{"ask": "status"}\n') == b""
        silent[0][1].close()
        await asyncio.sleep(0.1)
        assert json.loads(await said(path, b'{"ask": "status"}\n'))["answer"]
        for _, writer in silent[1:]:
            writer.close()

    served(path, body)


def test_a_dead_ones_socket_is_replaced(path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(os.fspath(path))
    dead.close()

    async def body(_: ControlServer) -> None:
        assert json.loads(await said(path, b'{"ask": "status"}\n'))["answer"]

    served(path, body)


def test_what_is_no_socket_stays_and_sound_goes_on_without_one(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    precious = path.parent / "precious"
    precious.write_text("do not touch")
    path.symlink_to(precious)

    async def body(_: ControlServer) -> None:
        pass

    with caplog.at_level(logging.WARNING):
        served(path, body)
    (record,) = caplog.records
    assert str(path) in record.getMessage() and "`xen-pv-audio status`" in record.getMessage()
    assert path.is_symlink() and precious.read_text() == "do not touch"


@pytest.mark.parametrize(
    "text", [b"\n", b"[1]\n", b"7\n", b"{}\n", b'{"error": []', b"x" * (1 << 21), b"[" * 90000]
)
def test_an_answer_that_is_none_is_one_line(text: bytes, path: Path) -> None:
    async def run() -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(text)
            writer.close()

        async with await asyncio.start_unix_server(answer, os.fspath(path)):
            with pytest.raises(UnavailableError, match=r"restart the service|try again") as caught:
                await asyncio.to_thread(ask, path, {"ask": "status"})
            assert str(path) in str(caught.value)

    asyncio.run(run())


def test_one_that_answers_byte_by_byte_is_given_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xenpvaudio.control.client.PATIENCE_SEC", 0.3)
    given_up = asyncio.Event()
    sent = 0

    async def run() -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            while not given_up.is_set():  # each byte well before the time for one is over
                writer.write(b" ")
                sent += 1
                await asyncio.sleep(0.02)
            writer.close()

        async with await asyncio.start_unix_server(answer, os.fspath(path)):
            asking = asyncio.create_task(asyncio.to_thread(ask, path, {"ask": "status"}))
            while not asking.done() and sent < 1000:
                await asyncio.sleep(0.02)
            given_up.set()
            with pytest.raises(UnavailableError, match="no answer within"):
                await asking

    asyncio.run(run())


def test_another_users_socket_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {SIM_VARIABLE: f"{tmp_path}:1"}
    asked: list[Path] = []
    monkeypatch.setattr("xenpvaudio.control.client.ask", lambda path, _: asked.append(path))
    planted = socket.socket(socket.AF_UNIX)
    planted.bind(os.fspath(socket_path("backend", 1, environ)))
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(UnavailableError, match="no backend runs here"):
        ask_all({"ask": "status"}, environ, "backend")
    monkeypatch.setattr(os, "geteuid", lambda: owner)
    ask_all({"ask": "status"}, environ, "backend")
    assert len(asked) == 1
    planted.close()


def test_without_anybody_to_ask_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    environ = {SIM_VARIABLE: f"{tmp_path}:1"}
    with pytest.raises(UnavailableError, match="neither half of Xen PV Audio runs here; start it"):
        ask_all({"ask": "status"}, environ)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(os.fspath(socket_path("backend", 1, environ)))
    dead.close()
    with pytest.raises(UnavailableError, match="no backend runs here"):
        ask_all({"ask": "status"}, environ, "backend")
