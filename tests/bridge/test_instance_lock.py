"""The lock of an instance, in a directory that another user can write to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenpvaudio.errors import UnavailableError
from xenpvaudio.instance_lock import DomainLock, InstanceLock
from xenpvaudio.xen.connect import SIM_VARIABLE


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lock's file will be."""
    monkeypatch.setenv(SIM_VARIABLE, f"{tmp_path}:3")
    return tmp_path / "xen-pv-audio-backend-3.lock"


def refused() -> str:
    with pytest.raises(UnavailableError) as caught:
        InstanceLock("backend", 3)
    return str(caught.value)


def test_lock_is_held_by_one_and_free_after_its_end(path: Path) -> None:
    first = InstanceLock("backend", 3)
    assert path.read_text() == str(os.getpid())
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"is running already for this domain (process {os.getpid()})" in refused()
    first.release()
    InstanceLock("backend", 3).release()


def test_planted_link_is_not_followed(path: Path) -> None:
    precious = path.parent / "precious"
    precious.write_text("do not touch")
    path.symlink_to(precious)
    line = refused()
    assert str(path) in line and "a link" in line and "remove it" in line
    assert precious.read_text() == "do not touch"


def test_planted_link_to_nothing_makes_no_file(path: Path) -> None:
    path.symlink_to(path.parent / "absent")
    assert "a link" in refused()
    assert not (path.parent / "absent").exists()


def test_planted_second_name_of_a_file_is_not_written(path: Path) -> None:
    precious = path.parent / "precious"
    precious.write_text("do not touch")
    os.link(precious, path)
    assert "another name" in refused()
    assert precious.read_text() == "do not touch"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_file_of_another_user_is_not_used(path: Path) -> None:
    path.write_text("1")
    os.chown(path, 1234, 1234)
    assert "a file of another user" in refused()
    assert path.read_text() == "1"


def test_what_is_no_file_is_refused_at_once(path: Path) -> None:
    os.mkfifo(path)
    assert "no plain file" in refused()
    path.unlink()
    path.mkdir()
    assert "Is a directory" in refused()


# -- of the whole domain


HOLD = """
import sys
from pathlib import Path
from xenpvaudio.instance_lock import DomainLock
lock = DomainLock(Path(sys.argv[1]))
print(lock.take(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def device() -> Iterator[Path]:
    """A character device that nobody else has, as Xen's are."""
    ends = os.openpty()
    yield Path(os.ttyname(ends[1]))
    for fd in ends:
        os.close(fd)


def test_device_is_locked_by_one_process_and_free_after_its_death(device: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(device)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert other.stdout is not None and other.stdout.readline() == "True\n"
    lock = DomainLock(device)
    assert not lock.take()
    assert lock.holder() == str(other.pid)
    other.kill()
    other.communicate()
    assert lock.take()
    assert lock.holder() == str(os.getpid())
    second = DomainLock(device)
    assert not second.take()
    lock.release()
    assert second.take()
    second.release()


def test_device_that_is_not_there_is_neither_locked_nor_made(tmp_path: Path) -> None:
    lock = DomainLock(tmp_path / "gntdev")
    assert lock.take() and lock.holder() == "?"
    lock.release()
    assert not (tmp_path / "gntdev").exists()
    assert DomainLock(tmp_path / "gntdev", make=True).take()
    assert (tmp_path / "gntdev").stat().st_mode & 0o777 == 0o600
