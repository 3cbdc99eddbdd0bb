"""The backend's connection to the host's PulseAudio: made when the first output wants it, and made
anew when the server comes back. The event loop's thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from xenpvaudio.engine.engine import RECONNECT_SEC, Engine, Owner, log_failure
from xenpvaudio.errors import UnavailableError
from xenpvaudio_native.pulse import Pulse, PulseEvent, PulseEventKind

log = logging.getLogger(__name__)

ANSWER_SEC = 10.0


class PulseServer:
    """UnavailableError where libpulse is not installed; a server that does not answer is waited
    for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.pulse = Pulse()
        self.up = False
        self._told = False  # that it is not there
        self._why = ""
        self._answered = asyncio.Event()
        self._owners: dict[int, Owner[PulseEvent]] = {}
        self._watchers: list[Callable[[bool], None]] = []
        self._retry: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.pulse.fileno(), self._dispatch)
        self.pulse.connect()

    async def first_answer(self) -> None:
        """UnavailableError if there is no server."""
        self._told = True  # by this
        try:
            await asyncio.wait_for(self._answered.wait(), ANSWER_SEC)
        except TimeoutError:
            self._why = f"nothing for {ANSWER_SEC:.0f} s"
        if not self.up:
            raise UnavailableError(
                f"no PulseAudio answers here ({self._why})",
                hint="start it, or set XDG_RUNTIME_DIR or PULSE_SERVER to the session's",
            )

    def new_id(self) -> int:
        return self._engine.new_id()

    def on_event(self, owner_id: int, handler: Callable[[PulseEvent], None], where: str) -> None:
        """What the server says of the stream with that id."""
        self._owners[owner_id] = Owner(handler, log_failure, where)

    def forget(self, owner_id: int) -> None:
        self._owners.pop(owner_id, None)

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Told True when the server is there, False when it is lost: free every stream then."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[bool], None]) -> None:
        self._watchers.remove(watcher)

    def _dispatch(self) -> None:
        for event in self.pulse.dispatch():
            if event.kind is PulseEventKind.UP:
                self._came()
            elif event.kind is PulseEventKind.LOST:
                self._lost(event.text)
            elif owner := self._owners.get(event.id):
                owner.serve(event)

    def _came(self) -> None:
        log.info("PulseAudio is there")
        self.up, self._told = True, False
        self._answered.set()
        self._tell(True)

    def _lost(self, why: str) -> None:
        was_up, self.up, self._why = self.up, False, why
        self._answered.set()
        if was_up:
            log.warning("PulseAudio is gone (%s): waiting for it to come back", why)
            self._tell(False)
        elif not self._told:
            log.warning("no PulseAudio answers (%s): waiting for one", why)
        self._told = True
        self.pulse.disconnect()
        self._retry = self._loop.call_later(RECONNECT_SEC, self.pulse.connect)

    def _tell(self, up: bool) -> None:
        for watcher in tuple(self._watchers):
            Owner(watcher, log_failure, "PulseAudio's coming and going").serve(up)

    def close(self) -> None:
        """After every port."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self.pulse.fileno())
        self.pulse.close()
