"""The socket that the ALSA plugin asks: whose it is, and what nonsense costs."""

from __future__ import annotations

import array
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.alsa.bed import PLUGIN, AlsaBed, alsa_bed
from interop.sound import eventually
from xenpvaudio_native import ffi, lib

pytestmark = pytest.mark.skipif(not PLUGIN.exists(), reason="built without libasound2-dev")


@pytest.fixture(scope="module")
def bed() -> Iterator[AlsaBed]:
    with alsa_bed() as made:
        eventually(lambda: made.streams().get("0/0") == "suspended", made.log("frontend"))
        yield made


def connect(bed: AlsaBed) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(20)
    connection.connect(str(bed.socket))
    return connection


def question(ask: int, **fields: int) -> bytes:
    told = {"version": lib.XPA_PCM_VERSION, "ask": ask, "stream": -1} | fields
    return bytes(ffi.buffer(ffi.new("struct xpa_pcm_question *", told)))


OPEN = {"format": 2, "rate": 48000, "channels": 2, "period_frames": 256, "buffer_frames": 1024}


def ask(connection: socket.socket, data: bytes) -> tuple[int, list[int]]:
    """The status of the answer, and descriptors."""
    connection.send(data)
    size = ffi.sizeof("struct xpa_pcm_answer")
    answer, rights, _, _ = connection.recvmsg(size, 1024)
    assert len(answer) == size
    fds = array.array("i")
    for _level, _kind, numbers in rights:
        fds.frombytes(numbers)
    return int(ffi.from_buffer("struct xpa_pcm_answer *", answer).status), list(fds)


def test_only_its_user_may_connect_to_the_alsa_socket(bed: AlsaBed) -> None:
    found = os.stat(bed.socket)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == os.geteuid()


@pytest.mark.parametrize(
    "fields",
    [
        {"format": 99},
        {"format": 24},
        {"rate": 1},
        {"channels": 0},
        {"channels": 4_000_000_000},
        {"period_frames": 0},
        {"period_frames": 32},
        {"buffer_frames": 4_000_000_000},
        {"period_frames": 1024, "buffer_frames": 512},
    ],
    ids=str,
)
def test_what_is_not_offered_is_refused(bed: AlsaBed, fields: dict[str, int]) -> None:
    with connect(bed) as connection:
        status, fds = ask(connection, question(lib.XPA_PCM_OPEN, **(OPEN | fields)))
        assert (status, fds) == (-22, [])
        status, fds = ask(connection, question(lib.XPA_PCM_OPEN, **OPEN))
        assert (status, len(fds)) == (0, 3)
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize(
    "data", [b"x", b"\0" * 44, b"\xff" * 44, b"\1" * 1000], ids=["short", "zero", "ones", "long"]
)
def test_nonsense_costs_its_program_only(bed: AlsaBed, data: bytes) -> None:
    with connect(bed) as other, connect(bed) as connection:
        assert ask(other, question(lib.XPA_PCM_SPACE))[0] == 0
        connection.send(data)
        assert connection.recv(100) == b""
        assert ask(other, question(lib.XPA_PCM_SPACE))[0] == 0
    assert bed.frontend.poll() is None
    assert "Traceback" not in bed.log("frontend")


def test_a_program_that_opens_again_and_again_leaves_nothing(bed: AlsaBed) -> None:
    def descriptors() -> int:
        return len(list(Path(f"/proc/{bed.frontend.pid}/fd").iterdir()))

    before = descriptors()
    with connect(bed) as connection:
        for i in range(20):
            status, fds = ask(connection, question(lib.XPA_PCM_OPEN, **OPEN))
            assert (status, len(fds)) == (0, 3)
            for fd in fds:
                os.close(fd)
            if i % 3 == 0:
                assert ask(connection, question(lib.XPA_PCM_CLOSE))[0] == 0
    eventually(lambda: descriptors() <= before, "descriptors are left")


def test_the_memory_cannot_be_cut_short(bed: AlsaBed) -> None:
    with connect(bed) as connection:
        status, (share, *events) = ask(connection, question(lib.XPA_PCM_OPEN, **OPEN))
        assert status == 0
        with pytest.raises(PermissionError):
            os.ftruncate(share, 0)
        for fd in (share, *events):
            os.close(fd)


def test_a_program_that_is_there_before_the_frontend_s_backend_waits(bed: AlsaBed) -> None:
    """aplay is started by init, and the card connects a moment later."""
    if shutil.which("aplay") is None:
        pytest.skip("no alsa-utils")
    bed.backend.terminate()
    bed.backend.wait(20)
    with bed.popen("aplay", "-q", "-D", "xenpv", "-d", "1", "-f", "dat", "/dev/zero") as player:
        bed.start_backend()
        assert player.wait(30) == 0, bed.log("frontend")
