"""The frontend's connection of one stream: its pages, channels, and slow requests.

A link lives as long as the backend serves it: published, attached, detached. READ, WRITE and
TRIGGER are the data loop's; here are OPEN, CLOSE, HW_PARAM_QUERY and the volume operations, one at
a time, each with the kernel frontend's deadline of 3 s. Those of a stream that is open lie where
the data loop finds a place for them (front/control.c).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from xenpvaudio.engine.engine import Engine
from xenpvaudio.engine.stream_format import stream_format
from xenpvaudio.errors import PeerGoneError, PeerProtocolError, UnavailableError, XenPvAudioError
from xenpvaudio.logs.peer_log import PeerLog
from xenpvaudio.sndif import packets, page_directory
from xenpvaudio.sndif.codes import ALIVE_BYTE, PAGE_BYTES, Direction, Key, Operation, status_name
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.sndif.volume_ext import VolumeEvent, unpack_volume_event
from xenpvaudio.xen.api import Channel, Domain, Grant
from xenpvaudio_native.plane import FrontStream, Notice, NoticeKind

DEADLINE_SEC = 3.0


class NoAnswerError(PeerGoneError):
    """The backend has let a request pass."""


class FrontLink:
    """One stream's rings in use; `where` names the stream in errors. `on_broken(error)` is called
    when the data loop gave the stream up; `on_latency()` when its lead changed;
    `on_volume(event)` when the host changed its volume."""

    def __init__(
        self,
        engine: Engine,
        domain: Domain,
        backend_id: int,
        direction: Direction,
        where: str,
        *,
        position_ext: bool,
        liveness_ext: bool,
        volume_ext: bool,
        on_broken: Callable[[XenPvAudioError], None],
        on_latency: Callable[[], None],
        on_volume: Callable[[VolumeEvent], None],
        log: logging.Logger | PeerLog,
    ) -> None:
        self._engine = engine
        self._domain = domain
        self._backend_id = backend_id
        self.where = where
        self._on_broken = on_broken
        self._on_latency = on_latency
        self._on_volume = on_volume
        self._log = log
        self._lock = asyncio.Lock()
        self._answer: asyncio.Future[packets.Response | None] | None = None
        self._released: asyncio.Event = asyncio.Event()
        self._detached: asyncio.Event = asyncio.Event()
        self._broken = False
        self._buffer: Grant | None = None
        self._directory: Grant | None = None
        self.config: Config | None = None
        self._pages: list[Grant] = []
        self._channels: list[Channel] = []
        self._liveness_ext = liveness_ext
        self.id = engine.new_id()
        try:
            for _ in range(2):  # one by one: what is there when the next fails is given back
                self._pages.append(domain.grants.grant(backend_id, 1))
                self._channels.append(domain.channels.bind_unbound(backend_id))
            if liveness_ext:  # our kernel clears the byte, and says so, however this process ends
                self._pages[1].set_unmap_notify(ALIVE_BYTE, self._channels[1].port)
            self.front = FrontStream(
                engine.plane,
                self.id,
                direction is Direction.CAPTURE,
                self._pages[0].address,
                self._pages[1].address,
                self._channels[0],
                self._channels[1],
                position_ext,
                backend_id,
                engine.budget(backend_id),
            )
        except BaseException:
            self._free()
            raise
        if liveness_ext:  # the page was cleared: only now
            self._pages[1].view[ALIVE_BYTE] = 1
        if volume_ext:
            self.front.hear_volumes()
        engine.on_notice(self.id, self._notice, on_broken, where)

    def nodes(self) -> dict[str, str]:
        """What to publish below the stream's directory."""
        return {
            Key.RING_REF: str(self._pages[0].refs[0]),
            Key.EVENT_CHANNEL: str(self._channels[0].port),
            Key.EVT_RING_REF: str(self._pages[1].refs[0]),
            Key.EVT_EVENT_CHANNEL: str(self._channels[1].port),
        }

    def attach(self) -> None:
        self.front.attach()

    def check(self) -> None:
        """Once a second."""
        if not self._broken:
            self.front.check()

    # -- requests

    async def ask(self, request: packets.Request) -> packets.Response:
        """Sends a request and waits for its answer, whatever its status. PeerGoneError after 3 s,
        or when the link broke."""
        if isinstance(request, packets.UnknownRequest):
            raise PeerProtocolError(f"{self.where}: operation {request.operation} is unknown")
        response = await self._exchange(request.operation, partial(self._send, request.pack()))
        assert response is not None  # it was sent
        return response

    def _send(self, packet: bytes) -> bool:
        self.front.request(packet)
        return True

    async def control(self, operation: Operation, data: bytes) -> int | None:
        """SET_VOLUME, MUTE or UNMUTE of what open() opened, or is about to; the backend's status.
        None: there is no place for it just now. PeerGoneError as ask()."""
        if self.config is None and self._buffer is not None:  # nothing else is in the buffer yet
            self._buffer.view[: len(data)] = data
            request = packets.TransferRequest(0, operation, 0, len(data))
            return (await self.ask(request)).status
        response = await self._exchange(operation, partial(self.front.control, operation, data))
        return None if response is None else response.status

    async def _exchange(
        self, operation: Operation, send: Callable[[], bool]
    ) -> packets.Response | None:
        """Waits for the answer to what `send` sends. None: it could not be sent now."""
        async with self._lock:
            if self._broken:
                raise PeerGoneError(f"{self.where}: the backend is gone")
            self._answer = asyncio.get_running_loop().create_future()
            try:
                if not send():
                    return None
                # Not wait_for(): before Python 3.12 it loses a cancellation that meets the answer,
                # and who cancelled waits for ever.
                async with asyncio.timeout(DEADLINE_SEC):
                    return await self._answer
            except TimeoutError:
                name = Operation(operation).name
                raise NoAnswerError(
                    f"{self.where}: the backend did not answer {name} for {DEADLINE_SEC:.0f} s"
                ) from None
            finally:
                self._answer = None

    async def open(
        self,
        config: Config,
        lead_frames: int,
        least_lead_frames: int = 0,
        before_start: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """OPEN, then `before_start`, and the data loop may stream. PeerProtocolError if the backend
        refuses."""
        data_pages, directory_pages = page_directory.pages_needed(config.buffer_bytes)
        self._buffer = self._domain.grants.grant(self._backend_id, data_pages)
        self._directory = self._domain.grants.grant(self._backend_id, directory_pages)
        pages = page_directory.build(self._buffer.refs, self._directory.refs)
        for number, page in enumerate(pages):
            self._directory.view[number * PAGE_BYTES : (number + 1) * PAGE_BYTES] = page
        request = packets.OpenRequest(
            0,
            config.rate,
            config.format,
            config.channels,
            config.buffer_bytes,
            self._directory.refs[0],
            config.period_bytes,
        )
        response = await self.ask(request)
        if not response.ok:
            self._free_buffer()
            raise PeerProtocolError(
                f"{self.where}: the backend refused OPEN with {status_name(response.status)}"
            )
        if before_start is not None:
            await before_start()
        self.config = config
        self.front.open(stream_format(config, self._buffer.address), lead_frames, least_lead_frames)

    async def close(self) -> None:
        """Ends streaming, sends CLOSE, frees the buffer; nothing if it is not open."""
        if self.config is None:
            return
        self.config = None
        self._released.clear()
        self.front.close()
        await self._released.wait()
        try:
            await self.ask(packets.CloseRequest(0))
        finally:
            self._free_buffer()

    async def detach(self) -> None:
        """Off the rings; everything granted is taken back."""
        self._break()
        self.front.detach()
        await self._detached.wait()
        self._engine.forget(self.id)
        if rests := self.front.stats.rests:
            self._log.info(
                "%s: looked away %d times: the backend sent too many events", self.where, rests
            )
        self.front.free()
        self._free_buffer()
        self._free()

    # -- from the data loop

    def _notice(self, notice: Notice) -> None:
        if notice.kind is NoticeKind.RESPONSE:
            self._answered(notice)
        elif notice.kind is NoticeKind.RELEASED:
            self._released.set()
        elif notice.kind is NoticeKind.DETACHED:
            self._released.set()
            self._detached.set()
        elif notice.kind is NoticeKind.LATENCY:
            self._on_latency()
        elif notice.kind is NoticeKind.VOLUME:
            self._on_volume(unpack_volume_event(notice.packet))
        elif notice.kind is NoticeKind.BROKEN:
            self._break()
            self._on_broken(
                PeerGoneError(f"{self.where}: lost the backend ({status_name(notice.code)})")
            )

    def _answered(self, notice: Notice) -> None:
        if self._answer is None or self._answer.done():
            return  # the request was given up
        try:
            sent = notice.code == 0
            self._answer.set_result(packets.unpack_response(notice.packet) if sent else None)
        except PeerProtocolError as error:
            self._answer.set_exception(error)

    def _break(self) -> None:
        self._broken = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(PeerGoneError(f"{self.where}: the backend is gone"))

    # -- memory

    def _free_buffer(self) -> None:
        for grant in (self._buffer, self._directory):
            if grant is not None:
                grant.close()
        self._buffer = self._directory = None

    def _free(self) -> None:
        if self._liveness_ext and len(self._pages) == 2:
            # an end in good order is told by the state; a lost machine has nobody to tell
            with contextlib.suppress(UnavailableError):
                self._pages[1].set_unmap_notify(None, None)
        for page in self._pages:
            page.close()
        for channel in self._channels:
            channel.close()
        self._pages, self._channels = [], []
