"""A device that meets what nobody foresaw: its card comes back, and one line says what happened."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pair import CONFIG, Pair, run
from waiting import wait_for
from xenpvaudio.errors import PeerProtocolError, UnavailableError
from xenpvaudio.sndif import packets
from xenpvaudio.xen.api import StoreGoneError
from xenpvaudio.xenbus import device as xenbus_device
from xenpvaudio.xenbus.states import Local, XenbusState


def failing(times: int, error: Exception, real: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, but its first calls raise."""
    left = [times]

    def call(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return real(*args, **options)

    return call


async def connected_again(pair: Pair) -> None:
    await wait_for(
        lambda: (
            pair.back.state is XenbusState.CONNECTED
            and pair.front.state is XenbusState.CONNECTED
            and pair.front.streams()[0].link is not None
        )
    )
    await pair.link.open(CONFIG, 512)


@pytest.mark.parametrize("end", ["back", "front"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_store_that_is_lost_while_a_state_is_written_costs_no_card(
    end: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pair: Pair) -> None:
        lost = StoreGoneError("XenStore's connection broke")
        real = xenbus_device.write_state
        device = pair.back if end == "back" else pair.front
        flaky = failing(times, lost, real)
        monkeypatch.setattr(
            xenbus_device,
            "write_state",
            lambda store, *rest: (flaky if store is device.store else real)(store, *rest),
        )
        device.feed(Local.ERROR)
        await wait_for(lambda: device.state is not XenbusState.CONNECTED)
        await connected_again(pair)

    run(tmp_path, body)


def test_an_offer_that_the_store_did_not_take_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xenpvaudio.backend import device as backend

    lost = StoreGoneError("XenStore's connection broke")
    monkeypatch.setattr(backend, "write_nodes", failing(2, lost, backend.write_nodes))

    async def body(pair: Pair) -> None:
        await connected_again(pair)

    run(tmp_path, body)


def unexpected(lines: list[str]) -> list[str]:
    return [line for line in lines if "unexpected OSError" in line]


@pytest.mark.parametrize("end", ["back", "front"])
def test_a_task_that_ends_unexpectedly_is_named_and_its_device_starts_anew(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pair: Pair) -> None:
        error = OSError(errno.EMFILE, "Too many open files")
        if end == "back":
            grants = pair.back._domain.grants
            monkeypatch.setattr(grants, "map", failing(1, error, grants.map))
        else:
            channels = pair.front._domain.channels
            monkeypatch.setattr(channels, "bind_unbound", failing(1, error, channels.bind_unbound))
        pair.front.feed(Local.ERROR)
        await wait_for(lambda: bool(unexpected(caplog.messages)))
        await connected_again(pair)
        (line,) = unexpected(caplog.messages)
        assert "vsnd/0" in line
        assert "Too many open files" in line

    with caplog.at_level(logging.INFO):
        run(tmp_path, body)


def test_a_request_whose_handler_fails_costs_its_device_a_restart_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pair: Pair) -> None:
        mixing = pair.back.streams["0/0"]._mixing
        monkeypatch.setattr(mixing, "serve", failing(1, OSError(5, "odd"), mixing.serve))
        await pair.link.open(CONFIG, 512)
        asked = packets.TransferRequest(0, packets.Operation.GET_VOLUME, 0, 8)
        waiting = asyncio.ensure_future(pair.link.ask(asked))
        await wait_for(lambda: pair.back.state is not XenbusState.CONNECTED)
        await asyncio.gather(waiting, return_exceptions=True)
        await connected_again(pair)
        (line,) = unexpected(caplog.messages)
        assert line.startswith("domain 1 (work) vsnd/0/0/0: ")

    run(tmp_path, body)


def test_open_without_memory_is_answered_and_the_stream_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(pair: Pair) -> None:
        back = pair.back.streams["0/0"].back
        error = UnavailableError("no memory for a stream's buffer")
        monkeypatch.setattr(back, "open", failing(1, error, back.open))
        with pytest.raises(PeerProtocolError, match="ENOMEM"):
            await pair.link.open(CONFIG, 512)
        await pair.link.open(CONFIG, 512)

    run(tmp_path, body)
