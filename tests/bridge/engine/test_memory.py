"""Memory of streams that have ended goes back to the system."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ctypes
from pathlib import Path
from xenpvaudio_native.plane import Plane

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def kept(size):
    memory = libc.malloc(size)
    ctypes.memset(memory, 1, size)
    libc.free(memory)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 - before

plane = Plane()
before = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
kept(8 << 20)
print(kept(4 << 20))
plane.close()
"""


def test_large_memory_goes_back_whatever_was_freed_before() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < 1 << 20
