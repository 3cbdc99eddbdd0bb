"""One sndif stream as a node of the guest's PipeWire graph.

The node outlives the connection: it appears when the backend first said what it can do, stays when
the backend dies, and goes on when it is back. A worker task brings the stream to what the graph
wants (a format, or nothing: suspended), one step at a time, whatever changes meanwhile. A short
suspension leaves the stream open, but stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xenpvaudio.config import FrontendSettings
from xenpvaudio.engine.engine import NODE_RETRY_SEC, Engine
from xenpvaudio.engine.report import opened_words
from xenpvaudio.errors import PeerProtocolError, XenPvAudioError, internal_error
from xenpvaudio.logs.peer_log import PeerLog
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.card import StreamConfig
from xenpvaudio.sndif.codes import Direction, PcmFormat, Status
from xenpvaudio.sndif.config_space import Interval, Space
from xenpvaudio.sndif.hwparams import (
    Config,
    Limits,
    Preferences,
    choose,
    from_stream_config,
    refine,
)
from xenpvaudio_native.pipewire import GuestNode, PwEvent, PwEventKind
from xenpvaudio_native.plane import Stats

from .card import SoundCard
from .figures import Shown, live, negotiated
from .lead import first_lead_frames, least_lead_frames
from .link import FrontLink
from .offer import make_offer
from .paced import Paced
from .volume import StreamVolume
from .xruns import Xruns

log = logging.getLogger(__name__)

# How long a suspended stream stays open. To force a rate, and since 1.0 a quantum, PipeWire takes
# the format from every node and sets it again some ten milliseconds later, mostly the same; to open
# anew would cost the sound of a tenth of a second. After this nobody is about to come back, and the
# host may give its device to others.
SUSPENDED_SEC = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """The format that the graph has set on the node."""

    format: PcmFormat
    rate: int
    channels: int


class FrontendStream:
    """`name`: unique in this guest, for node.name; `title`: for people; `properties`: more."""

    def __init__(
        self,
        engine: Engine,
        config: StreamConfig,
        settings: FrontendSettings,
        *,
        where: str,
        properties: Mapping[str, str],
        card: SoundCard,
        on_error: Callable[[XenPvAudioError], None],
        on_opened: Callable[[], None],
        log: logging.Logger | PeerLog = log,
    ) -> None:
        self._log = log
        self._engine = engine
        self.config = config
        self._settings = settings
        self.where = where
        self._properties = dict(properties)
        self.card = card
        card.join(self)
        self.volume = StreamVolume(where, self._show_volume, lambda: self._wake.set(), log)
        self._on_error = on_error
        self._on_opened = on_opened
        self.id = engine.new_id()
        engine.on_event(self.id, self._event, on_error, where)
        self.node: GuestNode | None = None
        self.link: FrontLink | None = None
        self.space: Space | None = None
        self.opened: Config | None = None
        self._wanted: Wanted | None = None
        self._suspension: asyncio.TimerHandle | None = None
        """Suspended just now: what is open stays so until then."""
        self._node_retry: asyncio.TimerHandle | None = None
        self._node_complaint = ""
        self._shown = Shown()
        self.xruns = Xruns()
        self.latency_changed = Paced(self._set_latency)
        self.last_error = ""
        """In words; empty since sound could flow again."""
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    # -- the connection comes and goes

    def start(self, link: FrontLink) -> None:
        """The backend is connected: negotiate, show the node, stream."""
        self.link = link
        self.opened = None
        link.attach()
        self._show_figures(None)
        self._wake.set()
        self._worker = asyncio.create_task(self._work(link), name=f"stream {self.where}")

    async def stop(self) -> None:
        """The connection ends; the node stays."""
        self._end_suspension()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
            self._worker = None
        link, self.link = self.link, None
        self.opened = None
        if link is not None:
            self._count_xruns(link.front.stats)
            self.xruns.connection_ended()
            self._end_ticks()
            await link.detach()
        self.volume.close()

    def pipewire_changed(self, up: bool) -> None:
        """The daemon came or went; nodes of the old connection are gone with it."""
        if not up:
            self._free_node()
            self._want(None)
        self._wake.set()

    def close(self) -> None:
        """After stop(): the node disappears."""
        self._free_node()
        self._engine.forget(self.id)

    def _free_node(self) -> None:
        if self._node_retry is not None:
            self._node_retry.cancel()
            self._node_retry = None
        if self.node is not None:
            self.node.free()
            self.node = None

    # -- the worker

    async def _work(self, link: FrontLink) -> None:
        try:
            self.space = await self._whole_space(link)
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._settle(link)
        except XenPvAudioError as error:
            self.failed(error)
        except Exception as error:
            self._log.debug("%s", self.where, exc_info=True)
            self.failed(internal_error(self.where, error))

    def failed(self, error: XenPvAudioError) -> None:
        """The stream cannot go on as it is."""
        self.last_error = str(error)
        self._on_error(error)

    async def _settle(self, link: FrontLink) -> None:
        """Brings the stream to what is wanted now."""
        if self.node is None and self._engine.pipewire_up:
            self._show_node()
        if self.node is not None:
            self.node.bind(link.front)
        wanted = self._wanted
        if self.opened is not None and self._stays(self.opened, wanted):
            if await self.volume.settle(link, self.opened.channels):
                self._set_route()
            return
        if self.opened is not None:
            self.opened = None
            await link.close()
            self._end_ticks()
            self.volume.ended()
        if wanted is None:
            return
        self.opened = await self._open(link, wanted)
        self._engine.need_pipewire(self.id, True)
        self._engine.tick(self.id, self._tick, self.failed, self.where)
        self.last_error = ""
        self._on_opened()

    def _stays(self, opened: Config, wanted: Wanted | None) -> bool:
        """Whether the stream that is open will do. Period and buffer follow from the settings and
        from what the backend allows, never from the graph's quantum."""
        if wanted is None:
            return self._suspension is not None
        return wanted == Wanted(opened.format, opened.rate, opened.channels)

    # -- what the graph wants

    def _want(self, wanted: Wanted | None) -> None:
        self._end_suspension()
        self._wanted = wanted
        self._wake.set()

    def _suspend(self) -> None:
        """Nothing is wanted, but may be in a moment."""
        if self._wanted is None:
            return
        self._want(None)
        self._suspension = asyncio.get_running_loop().call_later(SUSPENDED_SEC, self._want, None)

    def _end_suspension(self) -> None:
        if self._suspension is not None:
            self._suspension.cancel()
            self._suspension = None

    # -- negotiation

    async def _query(self, link: FrontLink, space: Space) -> Space | None:
        """The backend's answer; a backend without queries gets its question back."""
        response = await link.ask(packets.QueryRequest(0, space))
        if response.status in (Status.EOPNOTSUPP, Status.ENOSYS):
            return space
        return response.space if response.ok else None

    async def _whole_space(self, link: FrontLink) -> Space:
        """All that configuration and backend allow."""
        everything = from_stream_config(self.config)
        answer = await self._query(link, everything)
        if answer is None or not everything.covers(answer):
            raise PeerProtocolError(f"{self.where}: the backend allows no configuration")
        space = refine(answer, Limits.of(self.config))
        if space is None:
            raise PeerProtocolError(f"{self.where}: the backend allows {answer}, which is nothing")
        return space

    async def _open(self, link: FrontLink, wanted: Wanted) -> Config:
        preferences = Preferences(
            formats=(wanted.format,),
            rate=wanted.rate,
            channels=wanted.channels,
            period_frames=self._settings.period_frames,
            buffer_frames=self._settings.buffer_frames,
        )
        every = Interval(1, 0xFFFF_FFFF)
        start = Space(
            wanted.format.mask,
            Interval(wanted.rate, wanted.rate),
            Interval(wanted.channels, wanted.channels),
            every,
            every,
        )
        plan = choose(Limits.of(self.config), preferences, start)
        query = next(plan)
        need_frames = 0  # the shortest buffer that the backend can serve at this rate
        while True:
            answer = await self._query(link, query)
            if answer is not None and need_frames == 0:
                need_frames = answer.buffer_frames.min
            try:
                query = plan.send(answer)
            except StopIteration as done:
                config: Config = done.value
                break
        lead_frames = first_lead_frames(config, self.config.direction, self._settings, need_frames)

        async def set_volume() -> None:
            await self.volume.begin(link, config.channels)
            self._set_route()  # what is left to PipeWire, before there is sound

        await link.open(config, lead_frames, least_lead_frames(config, self._settings), set_volume)
        self._log.info("%s: open %s", self.where, opened_words(config))
        if self.node is not None:
            self.node.set_properties(negotiated(config))
            self.node.set_latency(lead_frames, config.rate)
        return config

    # -- the node

    def _show_node(self) -> None:
        if self.space is None or self._engine.pipewire is None:
            return
        capture = self.config.direction is Direction.CAPTURE
        offer = make_offer(self.config, self.space, self._settings, self.where)
        if not self.card.shows(self.config, offer.channels[0]):
            return
        properties = {
            "media.class": "Audio/Source" if capture else "Audio/Sink",
            "node.virtual": "false",
            "node.rate": f"1/{offer.rates[0]}",
            "audio.rate": str(offer.rates[0]),
            "audio.channels": str(offer.channels[0]),
            "node.latency": f"{self._settings.quantum_frames}/{offer.rates[0]}",
            "node.max-latency": f"{self.space.buffer_frames.max // 2}/{offer.rates[0]}",
            "node.pause-on-idle": "true",
            "xenpv.pulse-delay": str(self._settings.pulse_delay).lower(),
            **self._properties,
            **self.card.properties(self.config),
        }
        self._shown = Shown()
        self.node = GuestNode(self._engine.pipewire, self.id, capture, properties, offer)
        self._set_route()
        self._show_figures(None)
        if self.link is not None:
            self.node.bind(self.link.front)

    def _set_route(self) -> None:
        route = self.card.route(self.config)
        self.volume.want(route.volumes, route.mute)
        if self.node is not None:
            soft = self.volume.soft(len(route.volumes))
            self.node.set_route(
                route.volumes, route.mute, route.latency_offset_nsec, soft.volumes, soft.mute
            )

    def _show_volume(self, volumes: Sequence[float] | None, mute: bool | None) -> None:
        self.card.set_volume(self.config, volumes, mute)

    def card_changed(self) -> None:
        """Another profile or volume, or the card came or went."""
        gone = self.node is not None and not self.card.has(self.config)
        if gone:
            self._free_node()
            self._want(None)
            self._engine.changed()
        self._set_route()
        self._wake.set()

    def _set_latency(self) -> None:
        """The data loop needs another lead: the published delay follows."""
        if self.node is not None and self.opened is not None and self.link is not None:
            self.node.set_latency(self.link.front.stats.published_frames, self.opened.rate)

    def _tick(self) -> None:
        """Once a second, from the stream's opening until it is closed: a look for requests that
        hang, and live figures for pw-cli."""
        stats = None
        if self.link is not None:
            self.link.check()
        if self.link is not None and self.opened is not None:
            stats = self.link.front.stats
            self._count_xruns(stats)
        self._show_figures(stats)

    def _end_ticks(self) -> None:
        self._engine.need_pipewire(self.id, False)
        self._engine.ticker.stop(self.id)
        self._show_figures(None)

    def _show_figures(self, stats: Stats | None) -> None:
        """On the node, if they are news: whoever follows the graph is woken by each change."""
        figures = self._live(stats)
        now_sec = asyncio.get_running_loop().time()
        if self.node is not None and self._shown.is_news(figures, now_sec):
            self.node.set_properties(figures)

    def _count_xruns(self, stats: Stats) -> None:
        self.xruns.seen(stats.xruns, stats.last_xrun_nsec)

    @property
    def node_name(self) -> str:
        return self._properties.get("node.name", "")

    def _live(self, stats: Stats | None) -> dict[str, str]:
        if stats is None or self.opened is None or self._wanted is None:
            return {"xenpv.state": "no backend" if self.link is None else "suspended"}
        by_host = self.volume.by_host
        return live(stats, self.opened.rate, self.xruns.total, volume_by_host=by_host)

    def _make_node_again(self) -> None:
        self._node_retry = None
        self._free_node()
        self._want(None)

    def _event(self, event: PwEvent) -> None:
        if event.lost_node and self.node is not None and self._node_retry is None:
            self.last_error = event.loss
            if event.loss != self._node_complaint:  # once, until sound flows again
                self._node_complaint = event.loss
                self._log.warning("%s: %s", self.where, event.loss)
            loop = asyncio.get_running_loop()
            self._node_retry = loop.call_later(NODE_RETRY_SEC, self._make_node_again)
        if event.streaming:
            self._node_complaint = self.last_error = ""
        if event.kind is not PwEventKind.FORMAT:
            return
        number, rate, channels = event.args
        if number < 0:
            self._suspend()
        else:
            self._want(Wanted(PcmFormat(number), rate, channels))
