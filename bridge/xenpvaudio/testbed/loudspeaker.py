"""The far end of a demo or test: reads what a recording sink (pwconf.pipe_sink) plays.

A thread drains the FIFO and keeps every byte with its time of arrival. A chunk arrives a little
after the graph cycle that played it, never before, so the earliest arrivals give the moment at
which a frame left the host's graph: the earliest since the sink stood still last, for a sink that
nobody plays to pauses, and its frames do not tell for how long.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 18
_PAUSE_NSEC = 200_000
_LATE_ARRIVALS = 8

Arrival = tuple[int, int]
"""A chunk's first frame, and when it came, nsec."""


def played_nsec(arrivals: Sequence[Arrival], frame: int, rate: int) -> int | None:
    """When `frame` was played, by arrivals around it; None if there are none.

    Behind a pause all arrivals are later than those before it say, by its length, and that is how
    it is told from a few that are merely late: more than _LATE_ARRIVALS of them."""
    lines = [nsec - (first - frame) * 1e9 / rate for first, nsec in arrivals]
    to_come = list(accumulate(reversed(lines), min))[::-1]
    found: float | None = None
    for number, ((first, _), line) in enumerate(zip(arrivals, lines, strict=True)):
        paused = (
            found is not None
            and number < len(lines) - _LATE_ARRIVALS
            and to_come[number] > found + _PAUSE_NSEC
        )
        if paused and first > frame:
            break
        found = line if found is None or paused else min(found, line)
    return None if found is None else round(found)


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
            near = [
                (first, nsec)
                for first, nsec in ((end // self.frame_bytes, nsec) for end, nsec in self._arrivals)
                if abs(first - frame) < reach
            ]
        return played_nsec(near, frame, self.rate)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._fd)
