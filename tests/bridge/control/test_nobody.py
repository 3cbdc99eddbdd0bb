"""What is told where no half answers: the thing that is in the way, and what to do about it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xenpvaudio.control import place
from xenpvaudio.control.client import ask, ask_all
from xenpvaudio.control.place import socket_path
from xenpvaudio.errors import UnavailableError
from xenpvaudio.xen.connect import SIM_VARIABLE

USER = 1000


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ordinary user's machine, with nothing in its /run."""
    monkeypatch.setattr(place, "RUN", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: USER)
    return tmp_path


@contextmanager
def listening(path: Path, backlog: int = 1) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))
        made.listen(backlog)
        yield made


def told(environ: dict[str, str], half: str = "") -> str:
    with pytest.raises(UnavailableError) as caught:
        ask_all({"ask": "status"}, environ, half)
    return str(caught.value)


def test_nothing_runs(run: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(run)}
    assert told(environ) == (
        "neither half of Xen PV Audio runs here; start it: systemctl --user start "
        "xen-pv-audio-frontend in a guest, xen-pv-audio-backend on a host"
    )
    assert told(environ, "backend") == (
        "no backend runs here; start it: systemctl --user start xen-pv-audio-backend"
    )


def test_a_user_without_a_runtime_directory(run: Path) -> None:
    for half in ("", "frontend"):
        text = told({}, half)
        assert text.startswith("XDG_RUNTIME_DIR is not set")
        assert f"export XDG_RUNTIME_DIR=/run/user/{USER}" in text


def test_a_user_with_somebody_elses_runtime_directory(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after su, which keeps it."""
    other = run / "user" / "0"
    other.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: path != other)
    text = told({"XDG_RUNTIME_DIR": str(other)})
    assert str(other) in text and f"export XDG_RUNTIME_DIR=/run/user/{USER}" in text


@pytest.mark.parametrize("half", ["", "backend"])
def test_a_service_of_the_whole_system(half: str, run: Path) -> None:
    folder = run / "xen-pv-audio-backend"
    folder.mkdir()
    assert told({"XDG_RUNTIME_DIR": str(run)}, half) == (
        f"the backend here is a service of the whole system, in {folder}; ask as root, with sudo"
    )


@pytest.mark.parametrize(
    ("half", "other", "where"),
    [("backend", "frontend", "on a host"), ("frontend", "backend", "in a guest")],
)
def test_an_order_for_the_other_half(half: str, other: str, where: str, tmp_path: Path) -> None:
    environ = {SIM_VARIABLE: f"{tmp_path}:1"}
    with listening(socket_path(other, 1, environ)):
        text = told(environ, half)
    assert text == f"no {half} runs here, but a {other}; give this order {where}"


def test_one_that_takes_no_more_askers(tmp_path: Path) -> None:
    """It is there, so it is not told that nobody is."""
    path = tmp_path / "full.sock"
    with listening(path, 0), socket.socket(socket.AF_UNIX) as first:
        first.connect(os.fspath(path))
        with pytest.raises(UnavailableError, match="no answer, and others wait") as caught:
            ask(path, {"ask": "status"})
    assert str(path) in str(caught.value)
