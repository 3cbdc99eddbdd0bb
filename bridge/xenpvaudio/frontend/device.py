"""The guest half: every vsnd device of this domain as PipeWire sinks and sources.

Discovers devices under the domain's own `device/vsnd` by a XenStore watch, so cards may be plugged
and unplugged at run time. Each card is a XenbusDevice on the FRONTEND table; each of its streams a
FrontendStream.
"""

from __future__ import annotations

import asyncio
import logging

from xenpvaudio.config import FrontendSettings
from xenpvaudio.engine.engine import Engine
from xenpvaudio.errors import ConfigError, PeerGoneError, XenPvAudioError
from xenpvaudio.logs.quoting import property_text
from xenpvaudio.sndif.card import Card, StreamConfig, parse_card
from xenpvaudio.sndif.codes import (
    FEATURE_LIVENESS_EXT,
    FEATURE_POSITION_EXT,
    FEATURE_VOLUME_EXT,
    Direction,
    Key,
)
from xenpvaudio.xen.api import Domain, Txn, XenStoreError
from xenpvaudio.xenbus import states, versions
from xenpvaudio.xenbus.availability import AvailabilityWatch
from xenpvaudio.xenbus.backoff import Backoff
from xenpvaudio.xenbus.device import XenbusDevice
from xenpvaudio.xenbus.discovery import Discovery
from xenpvaudio.xenbus.nodes import parse_domid, read_nodes, read_tree
from xenpvaudio.xenbus.states import Action, Local, XenbusState
from xenpvaudio_native.card import Available
from xenpvaudio_native.pipewire import PwEvent

from .alsa.stream import AlsaStream
from .card import TITLE, SoundCard, title
from .link import FrontLink
from .node import FrontendStream
from .roles import INTENDED_ROLES, intended_roles

log = logging.getLogger(__name__)

DEVICES = "device/vsnd"
RETRY_SEC = 0.5
# Above those of real cards, and of one that is emulated beside ours: 1000 for a sink and 2000 for a
# source (WirePlumber, scripts/monitors/alsa.lua). A sink is a source too, by its monitor: so any
# microphone comes before what is played.
SINK_PRIORITY, SOURCE_PRIORITY = 1500, 2500
DRIVER_PRIORITY = 1500
MOST_BEHIND = 100
# As long as the stream of a prompt or a call is open, the host's mixer may keep others down:
# WirePlumber suspends it after so long without an application, and not after a device's 5 s.
ROLE_REST = {"session.suspend-timeout-seconds": "1"}


class FrontendDevice(XenbusDevice):
    """One virtual sound card."""

    table = states.FRONTEND

    def __init__(
        self, engine: Engine, domain: Domain, devid: str, settings: FrontendSettings
    ) -> None:
        store = domain.store
        directory = f"{DEVICES}/{devid}"
        super().__init__(
            store, directory, store.read(f"{directory}/{states.BACKEND_PATH}"), f"vsnd/{devid}"
        )
        self._engine = engine
        self._domain = domain
        self._devid = devid
        self._settings = settings
        self._backend_id = parse_domid(
            store.read(f"{directory}/{states.BACKEND_ID}"), f"{directory}/{states.BACKEND_ID}"
        )
        # kept over connections: a backend that leaves and returns has spent what it spent
        self._budget = engine.budget(self._backend_id)
        self._position_ext = self._liveness_ext = self._volume_ext = False
        self._offered_versions = False
        self._card: Card | None = None
        self._sound_card: SoundCard | None = None
        self._complaint_of_stream = ""
        self._recovery: asyncio.TimerHandle | None = None
        self._recovery_sec = 0.0
        self._retries = Backoff(RETRY_SEC)
        self._availability = AvailabilityWatch(store, self.peer, self._tell_available, self.log)
        self._streams: dict[str, FrontendStream] = {}
        self._links: dict[str, FrontLink] = {}

    def timer_sec(self, action_state: XenbusState) -> float:
        if action_state is XenbusState.CLOSING:
            return states.CLOSE_TIMEOUT_NSEC / 1e9
        return self._retries.hold_sec

    def own_changed(self) -> None:
        """The toolstack speaks to the backend's directory, not to ours."""

    async def told(self) -> None:
        """All is done when the state is written."""

    async def act(self, action: Action) -> None:
        if action is Action.READ_CONFIG:
            await self._negotiate()
        elif action is Action.PUBLISH:
            await self._publish()
        elif action is Action.ATTACH:
            self._retries.connected(self._loop.time())
            for path, link in self._links.items():
                self._streams[path].start(link)
            self._availability.start()
            self._tell_available()
        elif action is Action.DETACH:
            await self._detach()
        elif action is Action.UNREGISTER:
            self._close_streams()

    def _close_streams(self) -> None:
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()
        if self._sound_card is not None:
            self._sound_card.close()
            self._sound_card = None

    async def _negotiate(self) -> None:
        try:
            await self._read_config()
        except ConfigError:
            raise  # our own card, which the toolstack may mend: once a second will do
        except XenPvAudioError:
            self._retries.failed()
            raise

    async def _read_config(self) -> None:
        asked = (Key.VERSIONS, FEATURE_POSITION_EXT, FEATURE_LIVENESS_EXT, FEATURE_VOLUME_EXT)
        with self.reading_peer():
            offered = await read_nodes(self.store, self.peer, asked, self.spend)
        versions.choose_version(offered.get(Key.VERSIONS))
        self._offered_versions = Key.VERSIONS in offered
        self._position_ext = offered.get(FEATURE_POSITION_EXT) == "1"
        self._liveness_ext = offered.get(FEATURE_LIVENESS_EXT) == "1"
        self._volume_ext = offered.get(FEATURE_VOLUME_EXT) == "1"
        nodes = await read_tree(self.store, self.directory, self.spend)
        card = parse_card(nodes, where=self.directory)
        if card != self._card:  # the toolstack changed it: other nodes
            self._close_streams()
            self._card = card

    async def _publish(self) -> None:
        assert self._card is not None
        if self._sound_card is None:
            channels = self._settings.channels
            self._sound_card = SoundCard(
                self._engine, self._card, self._devid, channels=channels, log=self.log
            )
        nodes: dict[str, str] = {}
        try:
            for config in self._card.streams:
                stream = self._streams.get(config.path) or self._make_stream(config)
                self._streams[config.path] = stream
                link = FrontLink(
                    self._engine,
                    self._domain,
                    self._backend_id,
                    config.direction,
                    stream.where,
                    position_ext=self._position_ext,
                    liveness_ext=self._liveness_ext,
                    volume_ext=self._volume_ext,
                    on_broken=stream.failed,
                    on_latency=stream.latency_changed,
                    on_volume=stream.volume.told,
                    log=self.log,
                )
                self._links[config.path] = link
                nodes |= {f"{config.path}/{key}": text for key, text in link.nodes().items()}
        except XenPvAudioError:
            await self._detach()
            raise
        if self._position_ext:
            nodes[FEATURE_POSITION_EXT] = "1"
        if self._liveness_ext:
            nodes[FEATURE_LIVENESS_EXT] = "1"
        if self._volume_ext:
            nodes[FEATURE_VOLUME_EXT] = "1"
        if self._offered_versions:
            nodes[Key.VERSION] = versions.OFFERED_VERSIONS

        def write(tx: Txn) -> None:
            for path, text in nodes.items():
                tx.write(f"{self.directory}/{path}", text)

        self.store.transact(write)

    def available(self, config: StreamConfig) -> Available:
        """What the backend says of a stream that records."""
        unavailable = self._availability.unavailable
        if unavailable is None:
            return Available.UNKNOWN
        return Available.NO if config.path in unavailable else Available.YES

    def _tell_available(self) -> None:
        if self._sound_card is None or self._settings.keep_silent_microphone:
            return
        for stream in self._streams.values():
            if stream.config.direction is Direction.CAPTURE:
                self._sound_card.set_available(stream.config, self.available(stream.config))

    async def _detach(self) -> None:
        self._availability.stop()
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery = None
        self._retries.ended(self._loop.time())
        links, self._links = self._links, {}
        for path, link in links.items():
            stream = self._streams.get(path)
            if stream is not None and stream.link is link:
                await stream.stop()
            else:
                await link.detach()

    def _failed(self, error: XenPvAudioError) -> None:
        """A stream was given up: new rings, at once, but no more than twice a second. What lasts
        is tried again for as long as an application wants it, and told once."""
        if self.state is not XenbusState.CONNECTED or self._recovery is not None:
            return
        if self._complaint_of_stream != str(error):
            self._complaint_of_stream = str(error)
            self.log.warning("%s: connecting anew", error)
        now = self._loop.time()
        self._recovery_sec = max(now, self._recovery_sec + RETRY_SEC)
        self._recovery = self._loop.call_later(self._recovery_sec - now, self.feed, Local.ERROR)

    def _opened(self) -> None:
        self._complaint_of_stream = ""

    def _make_stream(self, config: StreamConfig) -> FrontendStream:
        assert self._card is not None and self._sound_card is not None
        capture = config.direction is Direction.CAPTURE
        kind = "source" if capture else "sink"
        alike = [stream for stream in self._card.streams if stream.direction is config.direction]
        # the card's first is the default: that of applications without a role
        place = alike.index(config)
        priority = (SOURCE_PRIORITY if capture else SINK_PRIORITY) - min(place, MOST_BEHIND)
        properties = {
            "node.name": f"xenpv_{kind}.{self._devid}.{config.device_index}.{config.index}",
            "node.description": title(self._card, config.device_index),
            "node.nick": self._card.short_name or TITLE,
            "priority.session": str(priority),
            "priority.driver": str(DRIVER_PRIORITY - (10 if capture else 0)),
            "xenpv.clock.name": f"xenpv.{self._backend_id}.{self._devid}",
            "xenpv.backend-domain": str(self._backend_id),
            "xenpv.device": f"{self._devid}/{config.path}",
            "xenpv.unique-id": config.unique_id,
        }
        if roles := intended_roles(config.unique_id):
            properties[INTENDED_ROLES] = roles
            properties |= ROLE_REST if place > 0 else {}
        kind_of_stream = FrontendStream if self._settings.serve == "pipewire" else AlsaStream
        return kind_of_stream(
            self._engine,
            config,
            self._settings,
            where=f"{self.where}/{config.path} ({kind})",
            properties={key: property_text(value) for key, value in properties.items()},
            card=self._sound_card,
            on_error=self._failed,
            on_opened=self._opened,
            log=self.log,
        )

    def pipewire_changed(self, up: bool) -> None:
        for stream in self._streams.values():
            stream.pipewire_changed(up)
        if self._sound_card is not None:
            self._sound_card.pipewire_changed(up)

    def streams(self) -> list[FrontendStream]:
        return list(self._streams.values())

    @property
    def budgets_met(self) -> dict[str, int]:
        """Of the backend's, by name: how often it was held off."""
        return {"xenstore": self._pace.holds} if self._pace.holds else {}

    @property
    def backend_id(self) -> int:
        return self._backend_id

    @property
    def name(self) -> str:
        """The card's, for people; empty before it was read."""
        return (self._card.long_name or self._card.short_name) if self._card else ""


class Frontend:
    """All vsnd devices of this domain."""

    def __init__(self, engine: Engine, domain: Domain, settings: FrontendSettings) -> None:
        self._engine = engine
        self._domain = domain
        self._settings = settings
        self.devices: dict[str, FrontendDevice] = {}
        self._discovery = Discovery(domain.store, DEVICES, 1, self._consider)
        engine.watch_pipewire(self._pipewire_changed)
        engine.watch_session_manager(self._manager_started)

    def run(self) -> None:
        self._discovery.run()

    @property
    def pipewire_up(self) -> bool:
        return self._engine.pipewire_up

    def _wanted(self, devid: str) -> bool:
        """Not while it is written: another event follows."""
        return self._domain.store.exists(f"{DEVICES}/{devid}/{states.BACKEND_PATH}")

    def _consider(self, found: tuple[str, ...]) -> bool:
        (devid,) = found
        if not self._wanted(devid):
            return False
        device = FrontendDevice(self._engine, self._domain, devid, self._settings)
        self.devices[devid] = device
        device.run()
        self._engine.changed()
        asyncio.get_running_loop().create_task(self._forget(devid, device))
        return True

    async def _forget(self, devid: str, device: FrontendDevice) -> None:
        await device.finished.wait()
        del self.devices[devid]
        self._engine.changed()
        try:
            there = self._wanted(devid)
        except XenStoreError:
            there = True  # it is looked at again, a little later
        self._discovery.ended((devid,), there=there)

    def _pipewire_changed(self, up: bool) -> None:
        for device in self.devices.values():
            device.pipewire_changed(up)

    def _manager_started(self, _event: PwEvent) -> None:
        log.info(
            "WirePlumber has started anew and would link nothing to sink and source as it finds "
            "them: they are made anew for it"
        )
        self._pipewire_changed(False)
        self._pipewire_changed(True)

    async def stop(self) -> None:
        self._discovery.stop()
        await asyncio.gather(*(device.stop() for device in self.devices.values()))


def require_devices(domain: Domain) -> None:
    """PeerGoneError with advice if this domain has no vsnd device at all."""
    if not domain.store.exists(DEVICES):
        raise PeerGoneError(
            "this domain has no virtual sound card yet",
            hint="add vsnd = [ ... ] to its configuration, or `xl vsnd-attach`",
        )
