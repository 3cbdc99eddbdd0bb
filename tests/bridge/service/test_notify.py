"""What a service manager hears, at a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenpvaudio.service.notify import Notifier, watchdog_sec


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setblocking(False)
        yield listener


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_lines_are_one_datagram(kind: str, manager: socket.socket, tmp_path: Path) -> None:
    name = str(tmp_path / "notify") if kind == "path" else f"@xpa-notify-{os.getpid()}"
    manager.bind(name.replace("@", "\0", 1))
    notifier = Notifier({"NOTIFY_SOCKET": name})
    assert notifier.is_heard
    assert notifier.tell("READY=1", "STATUS=no guests")
    assert manager.recv(4096) == b"READY=1\nSTATUS=no guests"
    notifier.close()
    assert not notifier.tell("READY=1")
    with pytest.raises(BlockingIOError):
        manager.recv(4096)


@pytest.mark.parametrize("name", ["", "relative", "vsock:2:1234"])
def test_without_an_address_that_is_known_nothing_is_sent(name: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": name})
    assert not notifier.is_heard
    assert not notifier.tell("READY=1")
    notifier.close()


def test_a_manager_that_is_gone_or_does_not_read_costs_nothing(
    manager: socket.socket, tmp_path: Path
) -> None:
    path = tmp_path / "notify"
    notifier = Notifier({"NOTIFY_SOCKET": str(path)})
    assert not notifier.tell("READY=1")  # not there yet
    manager.bind(str(path))
    sent = 0
    while notifier.tell("WATCHDOG=1"):  # until its queue is full
        sent += 1
        assert sent < 100_000
    assert sent > 0
    for _ in range(sent):
        manager.recv(4096)
    assert notifier.tell("WATCHDOG=1")
    notifier.close()


def test_a_name_too_long_for_a_socket_costs_nothing() -> None:
    notifier = Notifier({"NOTIFY_SOCKET": "/" + "x" * 300})
    assert not notifier.tell("READY=1")
    notifier.close()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_the_managers_for_this_process(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_sec(environ) == seconds
