"""What rights the running halves have kept, thread by thread, as the kernel tells them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenpvaudio.sound.wav import write_wav
from xenpvaudio.testbed.testbed import Testbed, card_nodes

SYS_NICE = 1 << 23  # linux/capability.h
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def threads(pid: int) -> dict[int, dict[str, str]]:
    """Each thread's /proc/.../status."""
    return {
        int(path.name): dict(re.findall(r"^(\w+):\s*(.*)$", (path / "status").read_text(), re.M))
        for path in Path(f"/proc/{pid}/task").iterdir()
    }


def capabilities(status: dict[str, str]) -> dict[str, int]:
    return {key: int(text, 16) for key, text in status.items() if key.startswith("Cap")}


MAY_BE_REAL_TIME = bool(capabilities(threads(os.getpid())[os.getpid()])["CapEff"] & SYS_NICE)


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """Both halves, after something was played and recorded in a file."""
    folder = tmp_path_factory.mktemp("sound")
    write_wav(folder / "a.wav", 48000, 2, "s16", bytes(4 * 12000))
    args = ["--allow-microphone", "--record", str(folder / "record.wav")]
    with Testbed(card_nodes(), backend_args=args) as made:
        made.wait_for_node()
        made.guest.run(["pw-play", "--target", "xenpv_sink.0.0.0", str(folder / "a.wav")])
        yield made


@pytest.mark.parametrize("role", ["frontend", "backend"])
def test_every_thread_of_a_half_has_given_up_what_it_does_not_need(role: str, bed: Testbed) -> None:
    running = bed.frontend if role == "frontend" else bed.backend
    assert running is not None
    found = threads(running.pid)
    assert len(found) > 2  # those of PipeWire and of XenStore too
    before = capabilities(threads(os.getpid())[os.getpid()])
    for status in found.values():
        assert status["NoNewPrivs"] == "1", status["Name"]
        assert capabilities(status) == {
            "CapInh": 0,
            "CapPrm": before["CapPrm"] & SYS_NICE,
            "CapEff": before["CapPrm"] & SYS_NICE,
            "CapBnd": 0 if os.geteuid() == 0 else before["CapBnd"],
            "CapAmb": 0,
        }, status["Name"]


@pytest.mark.parametrize("role", ["frontend", "backend"])
@pytest.mark.skipif(not MAY_BE_REAL_TIME, reason="without CAP_SYS_NICE no thread is real-time")
def test_data_loop_is_real_time_as_before(role: str, bed: Testbed) -> None:
    running = bed.frontend if role == "frontend" else bed.backend
    assert running is not None
    policies = {
        status["Name"]: os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK
        for thread, status in threads(running.pid).items()
    }
    assert os.SCHED_FIFO in policies.values(), policies


def test_memory_is_never_both_written_and_run() -> None:
    code = """
import ctypes, mmap, os
from xenpvaudio_native.privilege import drop_privileges
libc = ctypes.CDLL(None, use_errno=True)
drop_privileges()
PR_GET_MDWE = 66
known = libc.prctl(PR_GET_MDWE, 0, 0, 0, 0)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    print("refused", known)
else:
    print("allowed", known)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    told, known = done.stdout.split()
    # Linux before 6.3 does not know the call
    assert told == ("refused" if int(known) >= 0 else "allowed")
