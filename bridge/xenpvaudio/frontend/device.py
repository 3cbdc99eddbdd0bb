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
from xenpvaudio.sndif.codes import FEATURE_LIVENESS_EXT, FEATURE_POSITION_EXT, Direction, Key
from xenpvaudio.xen.api import Domain, Txn, Watch, XenStoreError
from xenpvaudio.xenbus import states, versions
from xenpvaudio.xenbus.device import XenbusDevice
from xenpvaudio.xenbus.nodes import parse_domid, read_tree
from xenpvaudio.xenbus.states import Action, Local, XenbusState

from .link import FrontLink
from .node import FrontendStream

log = logging.getLogger(__name__)

DEVICES = "device/vsnd"
RETRY_SEC = 1.0
PRIORITY = 1500


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
        self._position_ext = self._liveness_ext = False
        self._card: Card | None = None
        self._complaint_of_stream = ""
        self._recovery: asyncio.TimerHandle | None = None
        self._recovery_sec = 0.0
        self._streams: dict[str, FrontendStream] = {}
        self._links: dict[str, FrontLink] = {}

    def timer_sec(self, action_state: XenbusState) -> float:
        return states.CLOSE_TIMEOUT_NSEC / 1e9

    def own_changed(self) -> None:
        """The toolstack speaks to the backend's directory, not to ours."""

    async def act(self, action: Action) -> None:
        if action is Action.READ_CONFIG:
            self._read_config()
        elif action is Action.PUBLISH:
            await self._publish()
        elif action is Action.ATTACH:
            for path, link in self._links.items():
                self._streams[path].start(link)
        elif action is Action.DETACH:
            await self._detach()
        elif action is Action.UNREGISTER:
            for stream in self._streams.values():
                stream.close()
            self._streams.clear()

    def _read_config(self) -> None:
        versions.choose_version(self.store.get(f"{self.peer}/{Key.VERSIONS}"))
        self._position_ext = self.store.get(f"{self.peer}/{FEATURE_POSITION_EXT}") == "1"
        self._liveness_ext = self.store.get(f"{self.peer}/{FEATURE_LIVENESS_EXT}") == "1"
        card = parse_card(read_tree(self.store, self.directory), where=self.directory)
        if card != self._card:  # the toolstack changed it: other nodes
            for stream in self._streams.values():
                stream.close()
            self._streams.clear()
            self._card = card

    async def _publish(self) -> None:
        assert self._card is not None
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
                    on_broken=self._failed,
                    on_latency=stream.latency_changed,
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
        if self.store.get(f"{self.peer}/{Key.VERSIONS}") is not None:
            nodes[Key.VERSION] = versions.OFFERED_VERSIONS

        def write(tx: Txn) -> None:
            for path, text in nodes.items():
                tx.write(f"{self.directory}/{path}", text)

        self.store.transact(write)

    async def _detach(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery = None
        links, self._links = self._links, {}
        for path, link in links.items():
            stream = self._streams.get(path)
            if stream is not None and stream.link is link:
                await stream.stop()
            else:
                await link.detach()

    def _failed(self, error: XenPvAudioError) -> None:
        """A stream was given up: new rings, at once, but no more than once a second. What lasts
        is tried again for as long as an application wants it, and told once."""
        if self.state is not XenbusState.CONNECTED or self._recovery is not None:
            return
        if self._complaint_of_stream != str(error):
            self._complaint_of_stream = str(error)
            self.log.warning("%s", error)
        now = self._loop.time()
        self._recovery_sec = max(now, self._recovery_sec + RETRY_SEC)
        self._recovery = self._loop.call_later(self._recovery_sec - now, self.feed, Local.ERROR)

    def _opened(self) -> None:
        self._complaint_of_stream = ""

    def _make_stream(self, config: StreamConfig) -> FrontendStream:
        assert self._card is not None
        device = self._card.devices[config.device_index]
        several = len(self._card.devices) > 1
        name = device.name or (f"PCM {config.device_index}" if several else "")
        capture = config.direction is Direction.CAPTURE
        title = f"Xen PV Audio: {name}" if several and name else "Xen PV Audio"
        kind = "source" if capture else "sink"
        properties = {
            "node.name": f"xenpv_{kind}.{self._devid}.{config.device_index}.{config.index}",
            "node.description": title,
            "node.nick": self._card.short_name or "Xen PV Audio",
            "device.description": self._card.long_name or "Xen PV Audio",
            "priority.session": str(PRIORITY),
            "priority.driver": str(PRIORITY - (10 if capture else 0)),
            "xenpv.clock.name": f"xenpv.{self._backend_id}.{self._devid}",
            "xenpv.backend-domain": str(self._backend_id),
            "xenpv.device": f"{self._devid}/{config.path}",
            "xenpv.unique-id": config.unique_id,
        }
        return FrontendStream(
            self._engine,
            config,
            self._settings,
            where=f"{self.where}/{config.path} ({kind})",
            properties={key: property_text(value) for key, value in properties.items()},
            on_error=self._failed,
            on_opened=self._opened,
            log=self.log,
        )

    def pipewire_changed(self, up: bool) -> None:
        for stream in self._streams.values():
            stream.pipewire_changed(up)

    def tick(self) -> None:
        for stream in self._streams.values():
            stream.tick()

    def streams(self) -> list[FrontendStream]:
        return list(self._streams.values())


class Frontend:
    """All vsnd devices of this domain."""

    def __init__(self, engine: Engine, domain: Domain, settings: FrontendSettings) -> None:
        self._engine = engine
        self._domain = domain
        self._settings = settings
        self.devices: dict[str, FrontendDevice] = {}
        self._watch: Watch | None = None
        self._ticker: asyncio.TimerHandle | None = None
        engine.watch_pipewire(self._pipewire_changed)

    def run(self) -> None:
        self._watch = self._domain.store.watch(DEVICES, self._changed)
        self._tick()

    def _changed(self, _path: str) -> None:
        try:
            self._discover()
        except (XenStoreError, ConfigError) as error:
            log.error("%s: %s", DEVICES, error)

    def _discover(self) -> None:
        store = self._domain.store
        names = store.list(DEVICES) if store.exists(DEVICES) else []
        for devid in sorted(name for name in names if name.isdigit()):
            if devid in self.devices:
                continue
            if store.get(f"{DEVICES}/{devid}/{states.BACKEND_PATH}") is None:
                continue  # still being written: another event follows
            device = FrontendDevice(self._engine, self._domain, devid, self._settings)
            self.devices[devid] = device
            device.run()
            asyncio.get_running_loop().create_task(self._forget(devid, device))

    async def _forget(self, devid: str, device: FrontendDevice) -> None:
        await device.finished.wait()
        if self.devices.get(devid) is device:
            del self.devices[devid]
        if self._watch is not None:
            self._changed(DEVICES)  # it may have been plugged again meanwhile

    def _pipewire_changed(self, up: bool) -> None:
        for device in self.devices.values():
            device.pipewire_changed(up)

    def _tick(self) -> None:
        for device in self.devices.values():
            device.tick()
        self._ticker = asyncio.get_running_loop().call_later(1.0, self._tick)

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._ticker is not None:
            self._ticker.cancel()
        await asyncio.gather(*(device.stop() for device in self.devices.values()))


def require_devices(domain: Domain) -> None:
    """PeerGoneError with advice if this domain has no vsnd device at all."""
    if not domain.store.exists(DEVICES):
        raise PeerGoneError(
            "this domain has no virtual sound card yet",
            hint="add vsnd = [ ... ] to its configuration, or `xl vsnd-attach`",
        )
