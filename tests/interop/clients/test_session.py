"""The private PipeWire session, with the real daemons."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from xenpvaudio.errors import UnavailableError
from xenpvaudio.testbed.session import PipeWireSession

SessionFactory = Callable[..., PipeWireSession]


def exists(pid: int) -> bool:
    """Whether the process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pids: list[int]) -> None:
    """The time is no requirement, only a bound for a test that fails."""
    deadline = time.monotonic() + 20
    while any(map(exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [pid for pid in pids if exists(pid)] == []


def output(session: PipeWireSession, *command: str) -> str:
    text: str = session.run(list(command), capture_output=True, text=True).stdout
    return text


def test_session_answers_every_kind_of_client(session: SessionFactory) -> None:
    made = session(null_sink="Test loudspeaker")
    assert "Test loudspeaker" in output(made, "wpctl", "status")
    assert "null-loudspeaker" in output(made, "pactl", "list", "short", "sinks")
    assert "Default Sink: null-loudspeaker" in output(made, "pactl", "info")
    assert list(made.pids()) == ["dbus-daemon", "pipewire", "wireplumber", "pipewire-pulse"]


def test_session_has_the_clock_that_was_asked_for_even_in_a_virtual_machine(
    session: SessionFactory,
) -> None:
    made = session(rate=44100, quantum=256, min_quantum=64, max_quantum=512)
    settings = output(made, "pw-metadata", "-n", "settings", "0")
    for expected in (
        "key:'clock.rate' value:'44100'",
        "key:'clock.allowed-rates' value:'[ 44100 ]'",
        "key:'clock.quantum' value:'256'",
        "key:'clock.min-quantum' value:'64'",
        "key:'clock.max-quantum' value:'512'",
    ):
        assert expected in settings


def test_stop_ends_every_process_and_the_clients_too(tmp_path: Path) -> None:
    with PipeWireSession(tmp_path) as made:
        client = made.popen(["pw-mon"], stdout=subprocess.DEVNULL)
        pids = [*made.pids().values(), client.pid]
        folder = made.runtime_dir
        assert all(map(exists, pids))
        assert folder.exists()
    assert not any(map(exists, pids))
    assert not folder.exists()


def test_an_exception_inside_ends_the_session(tmp_path: Path) -> None:
    pids: list[int] = []
    with pytest.raises(KeyboardInterrupt), PipeWireSession(tmp_path, pulse=False) as made:
        pids += made.pids().values()
        raise KeyboardInterrupt
    assert len(pids) == 3
    assert not any(map(exists, pids))


def test_kill_minus_9_of_the_owner_leaves_no_daemon(tmp_path: Path) -> None:
    program = (
        "import sys, time; from xenpvaudio.testbed.session import PipeWireSession\n"
        "with PipeWireSession(sys.argv[1], wireplumber=False, pulse=False) as made:\n"
        "    print(*made.pids().values(), made.runtime_dir, flush=True); time.sleep(600)\n"
    )
    path = os.pathsep.join(sys.path)
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdout is not None
        *pids, folder = owner.stdout.readline().split()
        assert all(exists(int(pid)) for pid in pids)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    wait_until_gone([int(pid) for pid in pids])
    # What nobody was left to remove.
    subprocess.run(["rm", "-rf", folder], check=True)


def test_two_sessions_do_not_see_each_other(session: SessionFactory) -> None:
    guest = session("guest", null_sink="Loudspeaker of the guest")
    host = session("host", null_sink="Loudspeaker of the host")
    assert "Loudspeaker of the guest" in output(guest, "wpctl", "status")
    assert "Loudspeaker of the host" not in output(guest, "wpctl", "status")
    assert "Loudspeaker of the host" in output(host, "wpctl", "status")


def test_session_ignores_the_environment_of_the_caller(tmp_path: Path) -> None:
    foreign = {
        **os.environ,
        "PIPEWIRE_REMOTE": "/nowhere",
        "PULSE_SERVER": "/nowhere",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere",
        "XDG_RUNTIME_DIR": "/nowhere",
    }
    with PipeWireSession(tmp_path, environ=foreign) as made:
        assert "nowhere" not in "".join(made.env.values())
        assert "PIPEWIRE_REMOTE" not in made.env


def test_missing_program_is_one_line_with_its_package(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        PipeWireSession(tmp_path, environ={"PATH": str(tmp_path)}).start()
    assert str(caught.value) == (
        "session: the program dbus-daemon is missing; apt install dbus-daemon"
    )
    assert caught.value.exit_status == 3


def test_daemon_that_ends_at_once_is_named_with_its_last_words(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    broken = programs / "wireplumber"
    broken.write_text("#!/bin/sh\necho something else; echo no Lua here >&2; exit 7\n")
    broken.chmod(0o755)
    environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    made = PipeWireSession(tmp_path / "work", name="guest", environ=environ)
    with pytest.raises(UnavailableError) as caught:
        made.start()
    assert "guest: wireplumber ended with status 7: no Lua here" in str(caught.value)
    assert made.pids() == {}
    assert not made.runtime_dir.is_absolute()


def test_check_tells_of_a_daemon_that_ended_later(session: SessionFactory) -> None:
    made = session(pulse=False)
    made.check()
    os.kill(made.pids()["wireplumber"], signal.SIGKILL)
    deadline = time.monotonic() + 20  # only a bound for a test that fails
    with pytest.raises(UnavailableError, match="wireplumber ended with status -9"):
        while time.monotonic() < deadline:
            made.check()
            time.sleep(0.01)
