"""What the audio thread says is not lost without a word: the queue is filled while nobody reads."""

from __future__ import annotations

import asyncio
import mmap
import socket
import time
from types import SimpleNamespace

from xenpvaudio.engine.engine import Engine
from xenpvaudio.errors import UnavailableError, XenPvAudioError
from xenpvaudio.sndif.codes import PAGE_BYTES
from xenpvaudio_native import ffi, lib
from xenpvaudio_native.plane import FrontStream, Notice, NoticeKind

QUEUE = 1024
"""Notices that find room (plane/plane.h)."""


def flood(stream: FrontStream, notices: int) -> None:
    """So many RELEASED; waits for the audio thread now and then, which takes commands from a queue
    as long."""
    for number in range(notices):
        stream.close()
        if number % 200 == 199:
            time.sleep(0.2)
    time.sleep(0.5)


def test_every_owner_is_told_when_notices_were_lost() -> None:
    async def body(more: int) -> tuple[int, list[XenPvAudioError]]:
        engine = Engine(None)
        memory = mmap.mmap(-1, 2 * PAGE_BYTES)
        address = int(ffi.cast("uintptr_t", ffi.from_buffer(memory)))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        channels = [
            SimpleNamespace(fd=end.fileno(), port=1, kind=lib.XPA_CHANNEL_SIM)
            for end in (ours, theirs)
        ]
        seen: list[Notice] = []
        failed: list[XenPvAudioError] = []
        engine.on_notice(1, seen.append, failed.append, "one")
        engine.on_notice(2, seen.append, failed.append, "two")
        stream = FrontStream(
            engine.plane, 1, False, address, address + PAGE_BYTES, *channels, False, 0
        )
        flood(stream, QUEUE + more)
        engine._dispatch_notices()
        read = len(seen)
        stream.detach()
        while not any(notice.kind is NoticeKind.DETACHED for notice in seen):
            await asyncio.sleep(0.01)
        stream.free()
        engine.close()
        ours.close()
        theirs.close()
        return read, failed

    assert asyncio.run(body(0)) == (QUEUE, [])
    read, failed = asyncio.run(body(3))
    assert read == QUEUE
    assert len(failed) == 2 and all(isinstance(error, UnavailableError) for error in failed)
    assert "3 messages" in str(failed[0])
