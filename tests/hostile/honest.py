"""Program: an honest guest that plays and asks, and says how it fared.

    python -m hostile.honest DIRECTORY DOMID

Its sound is never 0, so silence in what the host plays is what it lost. Each line on its standard
input ends a window: it answers with that window's figures as one line of JSON. It runs as early as
an audio thread does, since a domain has processors of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import sys
import time

from . import header
from .guest import Card, Stream

PERIOD_FRAMES = 512
PERIODS = 8
FRAME_BYTES = 4
RATE = 48000
QUERY_EVERY_SEC = 0.05
LOUD = 8192  # of 32768


class Player:
    """Keeps the buffer full; what is in it is always the same."""

    def __init__(
        self,
        stream: Stream,
        period_frames: int = PERIOD_FRAMES,
        periods: int = PERIODS,
        level: int = LOUD,
    ) -> None:
        self._stream = stream
        self._period_bytes = period_frames * FRAME_BYTES
        self._buffer_bytes = periods * self._period_bytes
        directory, view = stream.share(-(-self._buffer_bytes // header.PAGE))
        view[:] = struct.pack("<h", level) * (len(view) // 2)
        body = header.open_body(
            directory, buffer_bytes=self._buffer_bytes, period_bytes=self._period_bytes
        )
        status, _ = stream.ask(header.OPEN, body)
        assert status == 0, f"OPEN: {status}"
        self._written = 0  # bytes
        self.heard = 0
        self.begin_window()
        while self._written < self._buffer_bytes:
            self.serve()
            assert stream.wait_answers()
        stream.send(header.TRIGGER, header.TRIGGER_REQ.pack(header.START))

    def _write(self) -> None:
        body = header.RW_REQ.pack(self._written % self._buffer_bytes, self._period_bytes)
        self._stream.put(header.WRITE, body)
        self._written += self._period_bytes

    def begin_window(self) -> None:
        self.events, self.gap_sec, self._last_sec = 0, 0.0, time.monotonic()
        self._first_heard = self.heard

    def serve(self) -> None:
        """What came: positions, and room for more."""
        self._stream.event_channel.ack()
        positions = self._stream.take_events()
        if positions:
            now_sec = time.monotonic()
            self.gap_sec = max(self.gap_sec, now_sec - self._last_sec)
            self._last_sec = now_sec
            self.events += len(positions)
            self.heard = positions[-1]
        self._stream.take_answers()
        self._stream.answers.clear()
        if self._written < self.heard:  # the host went on without us: a new beginning
            self._written = -(-self.heard // self._period_bytes) * self._period_bytes
        told = False
        while (
            self._written + self._period_bytes - self.heard <= self._buffer_bytes
            and self._stream.waiting < header.RING_SLOTS - 1
        ):
            self._write()
            told = True
        if told:
            self._stream.channel.notify()

    @property
    def heard_frames(self) -> int:
        return (self.heard - self._first_heard) // FRAME_BYTES


class Asker:
    """Queries, one after another with pauses; how long the slowest took."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._asked_sec = time.monotonic()
        self._answered = True
        self.begin_window()

    def begin_window(self) -> None:
        self.slowest_sec, self.count = 0.0, 0

    def serve(self) -> None:
        age_sec = time.monotonic() - self._asked_sec
        self._stream.channel.ack()
        if not self._answered:
            self.slowest_sec = max(self.slowest_sec, age_sec)
            if self._stream.take_answers():
                self._answered = True
                self._stream.answers.clear()
                self.count += 1
        elif age_sec >= QUERY_EVERY_SEC:
            self._asked_sec, self._answered = time.monotonic(), False
            self._stream.send(header.QUERY, header.query_body())


def main() -> None:
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(15))
    playback, capture = Card(sys.argv[1], int(sys.argv[2])).connect("0/0", "0/1")
    player, asker = Player(playback), Asker(capture)
    fds = [playback.event_channel.fd, playback.channel.fd, capture.channel.fd, 0]
    began_sec = time.monotonic()
    while True:
        ready, _, _ = select.select(fds, [], [], QUERY_EVERY_SEC / 2)
        if playback.channel.fd in ready:
            playback.channel.ack()
        player.serve()
        asker.serve()
        if 0 in ready:
            if not sys.stdin.readline():
                return
            seconds = time.monotonic() - began_sec
            figures = {
                "seconds": seconds,
                "events": player.events,
                "gap_sec": player.gap_sec,
                "rate": player.heard_frames / seconds,
                "query_sec": asker.slowest_sec,
                "queries": asker.count,
            }
            print(json.dumps(figures), flush=True)
            player.begin_window()
            asker.begin_window()
            began_sec = time.monotonic()


if __name__ == "__main__":
    main()
