"""Where the running halves of a machine are asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xenpvaudio.control import place


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is in /run of a machine with a half of root's, of a user's, and of the system's unit."""
    monkeypatch.setattr(place, "RUN", tmp_path)
    for folder in (".", "user/1000", "xen-pv-audio-backend"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "xen-pv-audio-backend-0.sock").touch()
    return tmp_path


def test_root_asks_every_users_and_the_system_units(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = [path.parent.relative_to(run).as_posix() for path in place.sockets("backend", {})]
    assert found == [".", "user/1000", "xen-pv-audio-backend"]
    assert list(place.sockets("frontend", {})) == []


def test_a_user_asks_its_own(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    environ = {"XDG_RUNTIME_DIR": str(run / "user" / "1000")}
    (found,) = place.sockets("backend", environ)
    assert found.parent == run / "user" / "1000"
