"""One guest stream, host side: its rings, and the requests that the data loop passes up.

The guest is hostile: each request is judged from zero, by the stream's configuration within the
host's policy. One that cannot be granted gets a status; one that breaks the protocol costs the
guest this device.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from xenpvaudio.config import DomainPolicy
from xenpvaudio.engine.engine import Engine
from xenpvaudio.engine.report import opened_words
from xenpvaudio.engine.stream_format import stream_format
from xenpvaudio.errors import (
    ConfigError,
    PeerGoneError,
    PeerProtocolError,
    UnavailableError,
    XenPvAudioError,
)
from xenpvaudio.sndif import packets, page_directory, stream_rules
from xenpvaudio.sndif.card import StreamConfig
from xenpvaudio.sndif.codes import Direction, Status, status_name
from xenpvaudio.sndif.config_space import Space
from xenpvaudio.sndif.hwparams import Config, answer
from xenpvaudio.sndif.volume import Mixer
from xenpvaudio.xen.api import Domain, GrantLimitError, Mapping
from xenpvaudio_native.plane import BackStream, Notice, NoticeKind

from .buffers import read_page, write_buffer
from .guest import Guest
from .mixing import StreamMixer
from .policy import check_open, highest_rate, limited_buffer_bytes, most_need_frames
from .port import Identity, Output, Port
from .recorder import Recorder
from .rings import Rings, Transport

# How long the host side of a stream that does not run stays active. Opened and not started yet: a
# host that must wake its card first needs longer than the guest's START has time. Stopped: a guest
# that starts and stops in bursts.
UNUSED_SEC = 5.0
LINGER_SEC = 2.0


class BackendStream:
    """`transport`: ring-ref, event-channel, evt-ring-ref, evt-event-channel, as published."""

    def __init__(
        self,
        engine: Engine,
        domain: Domain,
        frontend_id: int,
        config: StreamConfig,
        transport: Transport,
        output: Output,
        identity: Identity,
        *,
        where: str,
        position_ext: bool,
        liveness_ext: bool,
        volume_ext: bool,
        record: Path | None,
        on_error: Callable[[XenPvAudioError], None],
        on_start: Callable[[StreamConfig], None] = lambda _: None,
        policy: DomainPolicy | None = None,
        guest: Guest | None = None,
    ) -> None:
        self._engine = engine
        self._policy = policy or DomainPolicy()
        guest = guest or Guest(frontend_id, engine)
        self._usage = guest.usage
        self._log = identity.log
        self._domain = domain
        self._frontend_id = frontend_id
        formats = tuple(fmt for fmt in config.formats if output.supports(fmt))
        self._card_config = replace(config, formats=formats)
        # what queries are answered by; OPEN is checked against both, card and policy
        self.config = replace(
            self._card_config, buffer_bytes=limited_buffer_bytes(config, self._policy)
        )
        self.output = output
        self._identity = identity
        self.where = where
        self._record = record
        self._on_error = on_error
        self._on_start = on_start
        self.opened: Config | None = None
        self.last_error = ""  # of an OPEN, in words; empty since there was a good one
        self.running = False  # between the guest's START and its STOP
        self._port: Port | None = None
        self._recorder: Recorder | None = None
        self._buffer: Mapping | None = None
        self._mixing = StreamMixer(
            self._apply_mixer,
            lambda event: self.back.tell_volume(event),
            lambda: self._port is None or self._port.mixes,
            sets=volume_ext,
            silenced=self._policy.muted,
            pace=guest.volumes,
        )
        self._replaced: list[Port] = []
        """Closed while their stream is open: free after its end."""
        self._retired: list[tuple[Mapping, Recorder | None, list[Port]]] = []
        self._detaching = False
        self._detached = asyncio.Event()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._open_pace = guest.opens
        self._waiting_open: asyncio.TimerHandle | None = None
        self._rings = Rings(domain, frontend_id, config.path, transport)
        self.id = engine.new_id()
        try:
            self.back = BackStream(
                engine.plane,
                self.id,
                config.direction is Direction.CAPTURE,
                self._rings.pages[0].address,
                self._rings.pages[1].address,
                self._rings.channels[0],
                self._rings.channels[1],
                position_ext,
                guest.budget,
            )
        except BaseException:
            self._rings.close()
            raise
        engine.on_notice(self.id, self._notice, on_error, where)
        if liveness_ext:
            self.back.watch()
        if volume_ext:
            self.back.tell_volumes()
        self.back.attach()

    async def detach(self) -> None:
        """Off the rings; everything mapped is given back."""
        self._detaching = True
        if self._waiting_open is not None:
            self._waiting_open.cancel()
        self._close_stream()
        self.back.detach()
        await self._detached.wait()
        self._engine.forget(self.id)
        if rests := self.back.stats.rests:
            self._log.info("%s: had to wait %d times: it asked for too much", self.where, rests)
        self.back.free()
        self._rings.close()

    # -- from the data loop

    def _notice(self, notice: Notice) -> None:
        if self._detaching and notice.kind in (NoticeKind.REQUEST, NoticeKind.TRIGGER):
            return  # on its way when we left: nobody would give back what it opens now
        if notice.kind is NoticeKind.REQUEST:
            if not self._put_off(notice):
                self._serve(notice.packet)
        elif notice.kind is NoticeKind.TRIGGER:
            self._triggered(bool(notice.code))
        elif notice.kind is NoticeKind.RELEASED:
            self._release(*self._retired.pop(0))
        elif notice.kind is NoticeKind.DETACHED:
            while self._retired:
                self._release(*self._retired.pop(0))
            self._detached.set()
        elif notice.kind is NoticeKind.BROKEN and notice.code == Status.ENOTCONN:
            self._on_error(PeerGoneError(f"{self.where}: the guest's frontend has died"))
        elif notice.kind is NoticeKind.BROKEN:
            self._on_error(
                PeerProtocolError(
                    f"{self.where}: the guest broke its rings ({status_name(notice.code)})"
                )
            )

    @staticmethod
    def _release(buffer: Mapping, recorder: Recorder | None, ports: list[Port]) -> None:
        if recorder is not None:
            recorder.close()
        for port in ports:
            port.free()
        buffer.close()

    def hold_to(self, policy: DomainPolicy, output: Output) -> None:
        """From now on it goes there, or comes from there, also if it is open."""
        if policy.muted != self._policy.muted:
            self._mixing.silence(policy.muted)
        if policy != self._policy:
            self._policy = policy
            limited = limited_buffer_bytes(self._card_config, policy)
            self.config = replace(self._card_config, buffer_bytes=limited)
        if output is self.output:
            return
        self.output = output
        if self.opened is None:
            return
        self._close_port()
        self._open_port(self.opened)
        if self.running:
            self._stay_awake()

    @property
    def port(self) -> Port | None:
        return self._port

    def silence(self, muted: bool) -> None:
        """The host's user orders it, whatever the host's mixer has by now."""
        self._mixing.silence(muted)

    def _triggered(self, running: bool) -> None:
        self.running = running
        self._stay_awake()
        if running:
            self._on_start(self.config)
        if self._port is None:
            return
        if running:
            self._port.set_active(True)
        else:
            self._rest_after(LINGER_SEC)

    def _stay_awake(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _rest_after(self, seconds: float) -> None:
        assert self._port is not None
        loop = asyncio.get_running_loop()
        self._idle_timer = loop.call_later(seconds, self._port.set_active, False)

    # -- requests

    def _put_off(self, notice: Notice) -> bool:
        """An OPEN that comes too soon is handed to us again in time; until it is answered, the data
        loop passes up no other request."""
        if self._waiting_open is not None:
            self._waiting_open = None
            return False  # in time
        request = packets.unpack_request(notice.packet)
        if not isinstance(request, packets.OpenRequest):
            return False
        loop = asyncio.get_running_loop()
        wait_sec = self._open_pace.wait_sec(loop.time(), self.output.as_opens(request.rate))
        if wait_sec > 0:
            self._waiting_open = loop.call_later(wait_sec, self._engine.hand, notice)
        return wait_sec > 0

    def _serve(self, packet: bytes) -> None:
        request = packets.unpack_request(packet)
        space: Space | None = None
        if isinstance(request, packets.OpenRequest):
            status = self._open(request)
        elif isinstance(request, packets.CloseRequest):
            self._close_stream()
            status = Status.OK
        elif isinstance(request, packets.QueryRequest):
            result = answer(
                request.space,
                self.config,
                self._need_frames(request.space.rates.max),
                min_period_frames=self._policy.min_period_frames,
                max_events_per_sec=self._policy.max_events_per_sec,
            )
            space, status = (None, result) if isinstance(result, Status) else (result, Status.OK)
        elif isinstance(request, packets.TransferRequest):
            status = self._mixing.serve(request, self.opened, self._buffer, self._write)
        else:
            status = Status.EOPNOTSUPP
        self.back.respond(packets.respond(request, status, space).pack())

    def _need_frames(self, rate: int) -> int:
        """The shortest buffer that covers what the host takes ahead: as measured while a stream
        runs, as the output estimates before."""
        rate = min(rate, highest_rate(self.config))
        measured = self.back.stats.host_delay_max_frames if self.opened else 0.0
        need = round(measured) or self.output.need_frames(rate)
        return min(need, most_need_frames(self.config))

    def _open(self, request: packets.OpenRequest) -> Status:
        status = stream_rules.validate_open(request, self._card_config)
        if status is not Status.OK:
            return self._refused(request, status)
        config = stream_rules.opened_config(request)
        try:
            check_open(config, self._policy)
            self.output.check(config.rate)
        except ConfigError as error:
            return self._refused(error, Status.EINVAL)
        self._close_stream()
        try:
            device_bytes = self.output.memory_bytes(config.rate)
            capture = self.config.direction is Direction.CAPTURE
            self._usage.add_memory(self, config, device_bytes, self._policy, capture)
            self._usage.add_load(self, config, self._policy)
        except ConfigError as error:
            self._usage.drop(self)
            return self._refused(error, Status.ENOMEM)
        status = self._open_checked(request, config)
        if status is not Status.OK:
            self._usage.drop(self)
        return status

    def _refused(self, why: object, status: Status, level: int = logging.WARNING) -> Status:
        self.last_error = f"OPEN refused: {why}"
        self._log.log(level, "%s: %s", self.where, self.last_error)
        if isinstance(why, ConfigError):
            self._usage.note(why)
        return status

    def _open_checked(self, request: packets.OpenRequest, config: Config) -> Status:
        """Within the policy: what the guest shares is mapped."""
        try:
            refs = page_directory.walk(
                request.gref_directory,
                request.buffer_bytes,
                partial(read_page, self._domain, self._frontend_id),
            )
            playback = self.config.direction is Direction.PLAYBACK
            buffer = self._domain.grants.map(self._frontend_id, refs, read_only=playback)
        except (PeerGoneError, PeerProtocolError) as error:
            return self._refused(error, Status.EINVAL)
        except GrantLimitError as error:
            return self._refused(error, Status.ENOMEM, logging.ERROR)
        try:
            self.back.open(stream_format(config, buffer.address))
        except UnavailableError as error:
            buffer.close()
            return self._refused(error, Status.ENOMEM, logging.ERROR)
        self._start_stream(config, buffer)
        return Status.OK

    def _start_stream(self, config: Config, buffer: Mapping) -> None:
        """The data loop has the stream: its host side, and its recording."""
        self._buffer = buffer
        self.opened = config
        self.last_error = ""
        self._mixing.begin(config.channels)
        self._open_port(config)
        if self._record is not None:
            try:
                self._recorder = Recorder(self._record, self.back, config, log=self._log)
            except XenPvAudioError as error:
                self._log.error("%s: %s", self.where, error)
        self._engine.ticker.start(self.id)
        self._log.info("%s: open %s", self.where, opened_words(config))

    def _open_port(self, config: Config) -> None:
        try:
            self._port = self.output.open(
                self.back, config, self._identity, self.mixer, self._mixing.host_changed
            )
        except XenPvAudioError as error:
            self.last_error = f"no host stream: {error}"
            self._log.error("%s: %s", self.where, self.last_error)
        else:
            self._port.set_active(True)
            self._rest_after(UNUSED_SEC)

    def _close_port(self) -> None:
        if self._port is not None:
            self._port.close()
            self._replaced.append(self._port)
            self._port = None

    def _close_stream(self) -> None:
        if self._buffer is None:
            return
        self._stay_awake()
        self._engine.ticker.stop(self.id)
        self._mixing.end()
        self._close_port()
        if self._recorder is not None:
            self._recorder.finish()
        self._retired.append((self._buffer, self._recorder, self._replaced))
        self._replaced = []
        self._usage.drop(self)
        self._buffer = self._recorder = None
        self.opened = None
        self.running = False
        self.back.close()

    def _write(self, refs: Sequence[int], begin: int, data: bytes) -> Status:
        """Into the guest's buffer, beside the data loop."""
        guest = self._domain, self._frontend_id
        return write_buffer(*guest, refs, begin, data, where=self.where, log=self._log)

    @property
    def mixer(self) -> Mixer:
        return self._mixing.mixer

    def _apply_mixer(self, mixer: Mixer) -> bool:
        """False without a port."""
        if self._port is not None:
            self._port.apply(mixer)
        return self._port is not None
