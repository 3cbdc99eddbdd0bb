"""The far end of a demo or test: reads what a recording sink (pwconf.pipe_sink) plays.

A thread drains the FIFO and keeps every byte with its time of arrival. A chunk arrives a little
after the graph cycle that played it, never before, so the earliest arrivals give the moment at
which a frame left the host's graph.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time
from pathlib import Path

PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 18


class Loudspeaker:
    """Makes the FIFO; create it before the session that plays to it, stop it after."""

    def __init__(self, fifo: Path, frame_bytes: int, rate: int) -> None:
        self.fifo = fifo
        self.frame_bytes = frame_bytes
        self.rate = rate
        self._data = bytearray()
        self._arrivals: list[tuple[int, int]] = []  # (bytes before the chunk, nsec)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        os.mkfifo(fifo)
        self._fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._thread = threading.Thread(target=self._run, name="loudspeaker", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        while not self._stop.is_set():
            if not poller.poll(100):
                continue
            try:
                chunk = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                continue
            if not chunk:  # no writer: hung up, which poll reports again and again
                self._stop.wait(0.01)
                continue
            with self._lock:
                self._arrivals.append((len(self._data), time.monotonic_ns()))
                self._data += chunk

    @property
    def frames(self) -> int:
        """Played so far."""
        return len(self._data) // self.frame_bytes

    def data(self, first_frame: int = 0) -> bytes:
        """Everything played from `first_frame` on, whole frames."""
        with self._lock:
            end = len(self._data) // self.frame_bytes * self.frame_bytes
            return bytes(self._data[first_frame * self.frame_bytes : end])

    def played_nsec(self, frame: int, around_sec: float = 1.0) -> int | None:
        """When `frame` was played, by the arrivals within `around_sec` of it."""
        reach = around_sec * self.rate
        with self._lock:
            starts = [
                nsec - (end_bytes / self.frame_bytes - frame) * 1e9 / self.rate
                for end_bytes, nsec in self._arrivals
                if abs(end_bytes / self.frame_bytes - frame) < reach
            ]
        return round(min(starts)) if starts else None

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._fd)
