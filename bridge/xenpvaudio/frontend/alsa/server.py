"""Whom the ALSA plugin asks (pw_module/src/ioplug): a socket of whole messages, the user's alone.

A connection is one PCM of one program, or its card's controls. Its end, however it came about,
closes what is open; the program's death costs the data loop nothing, for it shares only memory and
eventfds with it.
"""

from __future__ import annotations

import array
import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from xenpvaudio.errors import (
    PeerProtocolError,
    UnavailableError,
    XenPvAudioError,
    internal_error,
)
from xenpvaudio.frontend.device import FrontendDevice
from xenpvaudio.sndif.codes import Direction, PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.xenbus.states import XenbusState
from xenpvaudio_native.guest_pcm import (
    ASK_CLOSE,
    ASK_OPEN,
    ASK_SPACE,
    QUESTION_BYTES,
    Pcm,
    PcmQuestion,
    PcmSpace,
    pack_answer,
    unpack_question,
)
from xenpvaudio_native.guest_pcm.controls import (
    ASK_READ,
    ASK_WATCH,
    ASK_WRITE,
    ControlQuestion,
    pack_control_answer,
    unpack_control_question,
)
from xenpvaudio_native.guest_pcm.controls import QUESTION_BYTES as CONTROL_QUESTION_BYTES

from .controls import Watcher, read_controls, write_control
from .refused import RefusedError, code_of
from .stream import OPEN_SEC, AlsaStream

log = logging.getLogger(__name__)

MOST_PROGRAMS = 64
LOOK_SEC = 0.05
MOST_BYTES = max(QUESTION_BYTES, CONTROL_QUESTION_BYTES)

Devices = Callable[[], Mapping[str, FrontendDevice]]


class _Program:
    """One connection; `closed` is called once when it has ended and nothing is open any more,
    `unmoved` when it has set a control and nothing came of it."""

    def __init__(
        self,
        connection: socket.socket,
        devices: Devices,
        closed: Callable[[_Program], None],
        unmoved: Callable[[ControlQuestion], None],
    ) -> None:
        self._connection = connection
        self._devices = devices
        self._closed = closed
        self._unmoved = unmoved
        self._watcher: Watcher | None = None
        self.watched_card = -1
        self._loop = asyncio.get_running_loop()
        self._stream: AlsaStream | None = None
        self._questions: asyncio.Queue[bytes] = asyncio.Queue()
        self.task = self._loop.create_task(self._serve())
        self._loop.add_reader(connection, self._readable)

    def _readable(self) -> None:
        try:
            data = self._connection.recv(MOST_BYTES + 1)
        except OSError:
            data = b""
        # One question at a time: more is no plugin of ours.
        if not data or not self._questions.empty():
            self.end()
        else:
            self._questions.put_nowait(data)

    def end(self) -> None:
        self._loop.remove_reader(self._connection)
        self.task.cancel()

    async def _serve(self) -> None:
        try:
            while True:
                data = await self._questions.get()
                control = unpack_control_question(data)
                if control is not None:
                    await self._answer_control(control)
                else:
                    await self._answer(unpack_question(data))
        except PeerProtocolError as error:
            log.warning("an ALSA program's plugin: %s", error)
        except OSError:
            pass  # the program has ended, which needs no line
        finally:
            self._loop.remove_reader(self._connection)
            if self._watcher is not None:
                self._watcher.close()
            self._connection.close()
            with suppress(asyncio.CancelledError):
                await asyncio.shield(self._let_go())
            self._closed(self)

    async def _answer(self, question: PcmQuestion) -> None:
        try:
            if question.ask == ASK_SPACE:
                self._send(0, space=(await self._take(question))[1])
            elif question.ask == ASK_OPEN:
                self._send(0, pcm=await self._open(question))
            elif question.ask == ASK_CLOSE:
                if self._stream is not None:
                    await self._stream.close_pcm()
                self._send(0)
            else:
                raise RefusedError(errno.ENOSYS)
        except XenPvAudioError as error:
            # It is told; what the backend did is in the log already, and is limited there.
            log.debug("an ALSA program is refused: %s", error)
            self._send(-code_of(error))
        except OSError:
            raise
        except Exception as error:
            log.error("%s", internal_error("an ALSA program's question", error))
            self._send(-errno.EIO)

    def _send(self, status: int, space: PcmSpace | None = None, pcm: Pcm | None = None) -> None:
        rights = []
        if pcm is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", pcm.fds()))]
        answer = pack_answer(status, space, 0 if pcm is None else pcm.share_bytes)
        self._connection.sendmsg([answer], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    # -- the card's controls

    async def _answer_control(self, question: ControlQuestion) -> None:
        try:
            device = await self._wait_for_card(question.card)
            if question.ask == ASK_READ:
                answer = read_controls(device)
            elif question.ask == ASK_WRITE:
                if not write_control(device, question):
                    self._unmoved(question)
                answer = pack_control_answer(0)
            elif question.ask == ASK_WATCH and self._watcher is None:
                self._watch(question.card)
                return
            else:
                raise RefusedError(errno.ENOSYS)
        except XenPvAudioError as error:
            answer = pack_control_answer(-code_of(error))
        self._connection.send(answer, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def _card(self, card: int) -> FrontendDevice | None:
        """With its streams, which are there once it was connected for the first time."""
        device = self._devices().get(str(card))
        return device if device is not None and device.streams() else None

    async def _wait_for_card(self, card: int) -> FrontendDevice:
        """RefusedError if there is none in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(OPEN_SEC):
                while True:
                    device = self._card(card)
                    if device is not None:
                        return device
                    await asyncio.sleep(LOOK_SEC)
        raise RefusedError(errno.ENODEV)

    def _watch(self, card: int) -> None:
        self.watched_card = card
        self._watcher = Watcher(self._connection, lambda: self._card(card), self.end)

    def look(self) -> None:
        """A control may have changed."""
        if self._watcher is not None:
            self._watcher.look()

    def tell_unmoved(self, question: ControlQuestion) -> None:
        if self._watcher is not None and self.watched_card == question.card:
            self._watcher.unmoved(question.stream, question.kind)

    # -- what it may have

    def _find(self, question: PcmQuestion) -> AlsaStream | None:
        """None: it may come yet. RefusedError if not."""
        devices = self._devices()
        device = devices.get(str(question.card))
        direction = Direction.CAPTURE if question.capture else Direction.PLAYBACK
        if device is None or device.state is not XenbusState.CONNECTED:
            return None
        for stream in device.streams():
            config = stream.config
            if (
                isinstance(stream, AlsaStream)
                and config.direction is direction
                and config.device_index == question.device
                and question.stream in (-1, config.index)
            ):
                return stream
        raise RefusedError(errno.ENXIO)

    async def _wait_for(self, question: PcmQuestion) -> tuple[AlsaStream, PcmSpace]:
        """The stream, connected; RefusedError if there is none in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(OPEN_SEC):
                while True:
                    stream = self._find(question)
                    if stream is not None and (space := stream.pcm_space()) is not None:
                        return stream, space
                    await asyncio.sleep(LOOK_SEC)
        raise RefusedError(errno.ENODEV)

    async def _take(self, question: PcmQuestion) -> tuple[AlsaStream, PcmSpace]:
        """It is this program's until the connection ends, as a sound card's is."""
        stream, space = await self._wait_for(question)
        if stream is not self._stream:
            await self._let_go()
            if stream.taken:
                raise RefusedError(errno.EBUSY)
            self._stream = stream
            stream.taken = True
        return stream, space

    async def _open(self, question: PcmQuestion) -> Pcm:
        stream, _space = await self._take(question)
        try:
            asked = Config(
                PcmFormat(question.format),
                question.rate,
                question.channels,
                question.period_frames,
                question.buffer_frames,
            )
        except ValueError:
            raise RefusedError(errno.EINVAL) from None
        return await stream.open_pcm(asked)

    async def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close_pcm()
            stream.taken = False


class PcmServer:
    """Listens at `path` from start() to stop(), on the event loop's thread."""

    def __init__(self, path: Path, devices: Devices) -> None:
        self.path = path
        self._devices = devices
        self._listener: socket.socket | None = None
        self._programs: set[_Program] = set()

    def start(self) -> None:
        """UnavailableError if the name is taken by what is no socket of this user."""
        with suppress(FileNotFoundError):
            found = self.path.lstat()
            if stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid():
                self.path.unlink()  # a dead one's: the instance lock is held
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.setblocking(False)
        before = os.umask(0o177)
        try:
            listener.bind(os.fspath(self.path))
            listener.listen(MOST_PROGRAMS)
        except OSError as error:
            listener.close()
            raise UnavailableError(
                f"cannot listen at {self.path} for ALSA programs: {error.strerror or error}"
            ) from None
        finally:
            os.umask(before)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # it is gone, or there is no descriptor for it
        if len(self._programs) >= MOST_PROGRAMS:
            connection.close()
            return
        connection.setblocking(False)
        program = _Program(connection, self._devices, self._programs.discard, self._tell_unmoved)
        self._programs.add(program)

    def look(self) -> None:
        """Something about a card may have changed: who watches its controls is told."""
        for program in tuple(self._programs):
            program.look()

    def _tell_unmoved(self, question: ControlQuestion) -> None:
        for program in tuple(self._programs):
            program.tell_unmoved(question)

    async def stop(self) -> None:
        """Programs hear that it is over."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self.path.unlink(missing_ok=True)
            self._listener = None
        programs = list(self._programs)
        for program in programs:
            program.end()
        await asyncio.gather(*(program.task for program in programs), return_exceptions=True)
