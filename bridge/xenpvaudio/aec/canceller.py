"""Looks after the canceller's process, in the frontend's: it alone knows the delay at any time.

The process is `pipewire -c`, as PipeWire's own documents do it for filters. It is started anew when
the delay has become another one and stays so, which costs a moment of sound, and when it has ended
by itself, later each time. What was ordered is remembered in a file for the next frontend.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

from xenpvaudio.errors import ConfigError
from xenpvaudio.logs.quoting import printable
from xenpvaudio.testbed.keeper import guard

from .configuration import RATE_HZ, SINK, SOURCE, Ends, configuration

log = logging.getLogger(__name__)

LOOK_SEC = 1.0
# Told anew if the truth is farther away than a canceller's filter should have to move, and was for
# so many looks: while streams start, the delay is not settled.
MOVED_FRAMES = RATE_HZ // 1000
MOVED_LOOKS = 3
# Until it is known for the first time: a quantum and a period of the defaults.
USUAL_FRAMES = 1536
LONGEST_PAUSE_SEC = 30.0
_GRACE_SEC = 3.0
_MOST_BYTES = 65536


class Canceller:
    """`ends`: the card to put it before, now; None while there is none. `state`: the file that
    remembers; `text`: where its configuration is written. The event loop's thread."""

    def __init__(self, ends: Callable[[], Ends | None], state: Path, text: Path) -> None:
        self._ends = ends
        self._state = state
        self._text = text
        self._remembered = _read(state)
        self._work: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None
        self._between: Ends | None = None
        self._next: Ends | None = None
        """What it is put before, while another process takes the place of one that runs."""
        self._told_frames = USUAL_FRAMES
        self._moved_looks = 0
        self._failures = 0
        self._not_before_sec = 0.0
        self._last_error = ""
        self._stirred = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None  # the loop itself keeps no task alive

    def run(self) -> None:
        """What was ordered of an earlier frontend still holds."""
        if self._remembered.get("enabled"):
            self._begin()

    async def stop(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        await self._end_process()
        if self._work is None:
            self._text.unlink(missing_ok=True)

    def renew(self) -> None:
        """Another process takes its place at the next look, and is another device for a session
        manager that would not link this one."""
        self._between = None
        self._stirred.set()

    def stir(self) -> None:
        """The delay, or the card, may be another one."""
        self._stirred.set()

    def answer(self, question: Mapping[str, Any], user: int) -> dict[str, Any]:
        """{"order": "enable", "disable" or "status", "before": {...}}. `before`: whatever disable
        is to give back, as it was before the first enable."""
        order = question.get("order")
        if order == "enable":
            before = question if not self._remembered.get("enabled") else self._remembered
            self._remember({"enabled": True, "before": before.get("before") or {}})
            log.info("echo canceller: on, ordered by user %d", user)
            self._begin()
        elif order == "disable":
            before = self._remembered.get("before") or {}
            self._remember({"enabled": False})
            log.info("echo canceller: off, ordered by user %d", user)
            self._ending = asyncio.get_running_loop().create_task(self.stop())
            return self._report() | {"before": before}
        elif order != "status":
            raise ConfigError("enable, disable or status")
        return self._report()

    def _report(self) -> dict[str, Any]:
        between = self._between or self._next
        return {
            "enabled": bool(self._remembered.get("enabled")),
            "running": self._running or self._next is not None,
            "sink": SINK,
            "source": SOURCE,
            "card_sink": between.sink if between else "",
            "card_source": between.source if between else "",
            "play_delay_frames": self._told_frames,
            "rate_hz": RATE_HZ,
            "last_error": self._last_error,
        }

    def _remember(self, what: dict[str, Any]) -> None:
        """ConfigError if it cannot be written down: then nothing has changed."""
        new = self._state.with_suffix(".new")
        try:
            self._state.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new.write_text(json.dumps(what), encoding="utf-8")
            new.replace(self._state)
        except OSError as error:
            raise ConfigError(f"cannot write {self._state}: {error.strerror}") from None
        self._remembered = what

    # -- its process

    @property
    def _running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def _begin(self) -> None:
        if self._work is None:
            self._failures, self._not_before_sec = 0, 0.0
            self._work = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            self._stirred.clear()
            await self._look()
            if self._running and self._between is not None and self._moved_looks == 0:
                await self._stirred.wait()  # nothing changes by itself: no reason to wake
            await asyncio.sleep(LOOK_SEC)

    async def _look(self) -> None:
        ends = self._ends()
        if ends is None:
            await self._end_process()
            return
        if self._running and not self._has_moved(ends):
            return
        if self._process is not None and not self._running:
            await self._failed()
        if asyncio.get_running_loop().time() < self._not_before_sec:
            return
        self._next = ends if self._running else None
        try:
            await self._end_process()
            if ends.play_delay_frames is not None:
                self._told_frames = ends.play_delay_frames
            await self._start(ends)
        finally:
            self._next = None

    def _has_moved(self, ends: Ends) -> bool:
        between = self._between
        if between is None or (between.sink, between.source) != (ends.sink, ends.source):
            return True
        known = ends.play_delay_frames
        if known is None or abs(known - self._told_frames) <= MOVED_FRAMES:
            self._moved_looks = 0
            return False
        self._moved_looks += 1
        return self._moved_looks >= MOVED_LOOKS

    async def _start(self, ends: Ends) -> None:
        try:
            self._text.write_text(configuration(ends, self._told_frames), encoding="utf-8")
            self._process = await asyncio.create_subprocess_exec(
                *guard(), "pipewire", "-c", os.fspath(self._text), stdin=DEVNULL, stdout=DEVNULL,
                stderr=PIPE, limit=_MOST_BYTES,
            )  # fmt: skip
        except OSError as error:
            self._last_error = f"{error.filename}: {error.strerror}"
            await self._failed()
            return
        self._between, self._moved_looks = ends, 0
        self._listener = asyncio.get_running_loop().create_task(self._listen(self._process))
        log.info(
            "echo canceller: before %s and %s, delay %.1f ms",
            *(ends.sink, ends.source, 1000 * self._told_frames / RATE_HZ),
        )

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Keeps the newest line of its errors."""
        assert process.stderr is not None
        with contextlib.suppress(ValueError):  # a line without end
            async for line in process.stderr:
                self._last_error = printable(line.decode("utf-8", "replace").strip(), 200)
        await process.wait()
        self._stirred.set()

    async def _failed(self) -> None:
        """It ended by itself, or could not be started: told once a row."""
        self._process = self._between = None
        self._failures += 1
        pause_sec = min(LONGEST_PAUSE_SEC, 2.0**self._failures)
        self._not_before_sec = asyncio.get_running_loop().time() + pause_sec
        if self._failures == 1:
            log.warning("echo canceller: it has ended: %s", self._last_error or "no reason given")

    async def _end_process(self) -> None:
        process, self._process, self._between = self._process, None, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _GRACE_SEC)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()


def _read(state: Path) -> dict[str, Any]:
    """Empty if there is none, or it is not what _remember() wrote: then it is off."""
    try:
        with state.open("rb") as stream:
            found = json.loads(stream.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
