"""One guest's card, host side: a XenbusDevice on the BACKEND table, each of its streams a
BackendStream. Which output, target, role and microphone a guest has is the policy's word
(config.py); what the guest writes is at most a request.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

from xenpvaudio.config import DomainPolicy, OutputSpec, Policy
from xenpvaudio.engine.engine import Engine
from xenpvaudio.errors import ConfigError, PeerGoneError, XenPvAudioError
from xenpvaudio.logs.quoting import printable
from xenpvaudio.sndif.card import Card, StreamConfig, parse_card, parse_unique_id
from xenpvaudio.sndif.codes import (
    FEATURE_LIVENESS_EXT,
    FEATURE_POSITION_EXT,
    FEATURE_VOLUME_EXT,
    Direction,
    Key,
)
from xenpvaudio.xen.api import Domain, XenStoreError
from xenpvaudio.xenbus import states, versions
from xenpvaudio.xenbus.availability import AvailabilityNode
from xenpvaudio.xenbus.backoff import Backoff
from xenpvaudio.xenbus.device import XenbusDevice
from xenpvaudio.xenbus.nodes import most_nodes, read_nodes, read_tree, write_nodes
from xenpvaudio.xenbus.states import Action, Local, XenbusState

from .guest import Guest
from .host_audio.output_maker import OutputMaker
from .host_user.consent import Asker, Consent
from .host_user.orders import Orders, key_of
from .policy import check_card
from .port import Identity, Output
from .rings import TRANSPORT, Transport, read_transport
from .stream import BackendStream

log = logging.getLogger(__name__)

DEVICES = "backend/vsnd"
CONNECT_RETRY_SEC = 0.5
REOFFER_SEC = 1.0


class BackendDevice(XenbusDevice):
    """One guest's virtual sound card."""

    table = states.BACKEND

    def __init__(
        self,
        engine: Engine,
        domain: Domain,
        frontend_id: int,
        devid: str,
        policy: Policy,
        orders: Orders,
        guest: Guest,
        consent: Consent,
        outputs: OutputMaker,
        *,
        record: Path | None,
        position_ext: bool,
    ) -> None:
        directory = f"{DEVICES}/{frontend_id}/{devid}"
        peer = f"{domain.store.domain_path(frontend_id)}/device/vsnd/{devid}"
        self.domain_name = printable(domain.name(frontend_id), 64)
        where = f"domain {frontend_id} ({self.domain_name}) vsnd/{devid}"
        super().__init__(domain.store, directory, peer, where, guest.lines, guest.pace)
        self._engine = engine
        self._domain = domain
        self._frontend_id = frontend_id
        self._devid = devid
        self._policies = policy
        self._orders = orders
        uuid = domain.uuid(frontend_id)
        self.has_uuid = uuid is not None
        self.key = key_of(frontend_id, uuid)
        """What orders of the host's user know the guest by."""
        self.policy = policy.default  # until _tree() has asked
        self._who: tuple[str | None, int, str | None] | None = None
        self._guest = guest
        self._consent = consent
        self._makes = outputs
        self._usage = guest.usage
        self._record = record
        self._position_ext = position_ext
        self._transports: dict[str, Transport] = {}
        self._card_unseen = False
        self._availability = AvailabilityNode(self.store, self.directory, self.log)
        self._outputs: dict[OutputSpec, Output] = {}
        self.streams: dict[str, BackendStream] = {}
        self._backoff = Backoff(states.CLOSING_HOLD_NSEC / 1e9)
        self._reoffers = Backoff(REOFFER_SEC)

    def timer_sec(self, action_state: XenbusState) -> float:
        if action_state is XenbusState.CLOSING:
            return self._backoff.hold_sec
        if action_state is XenbusState.CLOSED:
            return self._reoffers.hold_sec
        return CONNECT_RETRY_SEC

    def own_changed(self) -> None:
        if states.is_offline(self.store.get(f"{self.directory}/{states.ONLINE}")):
            self.feed(Local.OFFLINE)

    async def act(self, action: Action) -> None:
        if action is Action.OFFER:
            self._offer()
        elif action is Action.CONNECT:
            await self._connect()
        elif action is Action.COMPARE:
            await self._compare()
        elif action is Action.DISCONNECT:
            await self._disconnect()

    def _offer(self) -> None:
        self._card_unseen = True
        offered = {FEATURE_LIVENESS_EXT: "1", FEATURE_VOLUME_EXT: "1"}
        offered[Key.VERSIONS] = versions.OFFERED_VERSIONS
        if self._position_ext:
            offered[FEATURE_POSITION_EXT] = "1"
        if not write_nodes(self.store, self.directory, offered):
            self.feed(Local.REMOVED)

    async def told(self) -> None:
        """Says what is wrong with the card before the guest has a driver for it, but after the
        offer is made: the guest's xl waits for that."""
        if not self._card_unseen:
            return
        self._card_unseen = False
        try:
            nodes = await self._tree()
            if states.STATE in nodes:  # else: just removed
                self._card(nodes)
        except ConfigError as error:
            self._complain(logging.ERROR, error)
        except XenStoreError:
            pass  # gone, or another's: the states will say

    async def _tree(self) -> dict[str, str]:
        """What the guest has written, as much as the policy lets it, as that is for it now."""
        domid = self._frontend_id
        self._who = (self._domain.known_name(domid), domid, self._domain.uuid(domid))
        self.policy = self._policy_of(self._who)
        self._guest.hold_to(self.policy)
        return await read_tree(
            self.store, self.peer, self.spend, most_nodes(self.policy.max_streams)
        )

    def _policy_of(self, who: tuple[str | None, int, str | None]) -> DomainPolicy:
        return self._orders.applied(self.key, self._policies.of(*who))

    def hold_to(self, policy: Policy | None = None) -> None:
        """Another policy, or an order of the host's user: it holds at once. A stream for which
        nothing has changed is not touched; ceilings are for its next OPEN. Asks nobody: it must not
        depend on XenStore's being there."""
        self._policies = policy or self._policies
        if self._who is None:
            return
        self.policy = self._policy_of(self._who)
        self._guest.hold_to(self.policy)
        for stream in self.streams.values():
            capture = stream.config.direction is Direction.CAPTURE
            stream.hold_to(self.policy, self._output(self._spec(capture=capture)))
        self._tell_available()
        if not self.policy.ask_microphone:
            self._consent.withdraw(self.key)
        for stream in self.streams.values():
            if stream.running:
                self._started(stream.config)

    def silence(self, muted: bool) -> None:
        """The host's user orders it: also streams that the host's mixer has otherwise by now."""
        for stream in self.streams.values():
            stream.silence(muted)

    @property
    def budgets_met(self) -> dict[str, int]:
        """Of the whole guest, by the policy's keys."""
        return self._guest.budgets_met

    def denied(self, stream: StreamConfig) -> bool:
        """Whether it gets silence instead of the microphone."""
        capture = stream.direction is Direction.CAPTURE
        return self._spec(capture=capture) != self.policy.output

    def _tell_available(self) -> None:
        """A microphone that must be used to be asked for stays there."""
        asks = self.policy.ask_microphone
        streams = {path: stream.config for path, stream in self.streams.items()}
        if streams:
            self._availability.tell(p for p, s in streams.items() if self.denied(s) and not asks)

    def _started(self, stream: StreamConfig) -> None:
        """What a capture stream gets instead of the microphone is not asked about."""
        if self.denied(stream) and self.policy.ask_microphone:
            who = Asker(self.key, self._frontend_id, self.domain_name, self.has_uuid)
            self._consent.wanted(who)

    def _spec(self, *, capture: bool) -> OutputSpec:
        """A virtual device cannot listen to anybody: only the host's needs leave."""
        spec = self.policy.output
        denied = capture and not self.policy.microphone and not spec.virtual
        return OutputSpec("null") if denied else spec

    def _card(self, nodes: dict[str, str]) -> Card:
        """ConfigError if it is none, or more than the policy allows."""
        card = parse_card(nodes, where=self.peer)
        count = sum(1 for _ in card.streams)
        try:
            self._usage.check_card(self._devid, count, self.policy, self.peer)
            check_card(card, self.policy, self.peer)
        except ConfigError as error:
            self._usage.note(error)
            raise
        return card

    async def _connect(self) -> None:
        try:
            await self._connect_streams()
        except (PeerGoneError, ConfigError):
            raise  # no error of the handshake
        except XenPvAudioError:
            self._reoffers.failed()
            raise
        now = asyncio.get_running_loop().time()
        self._backoff.connected(now)
        self._reoffers.connected(now)

    async def _connect_streams(self) -> None:
        with self.reading_peer():
            nodes = await self._tree()
        versions.check_version(nodes.get(Key.VERSION))
        card = self._card(nodes)
        transports = {stream.path: read_transport(nodes, stream.path) for stream in card.streams}
        try:
            self._usage.streams[self._devid] = len(transports)
            for stream in card.streams:
                self.streams[stream.path] = self._host(stream, transports[stream.path], nodes)
        except XenPvAudioError:
            await self._disconnect()
            raise
        self._transports = transports
        self._tell_available()

    async def _compare(self) -> None:
        """Reads no more than tells whether the guest has other rings."""
        names = [f"{path}/{key}" for path in self._transports for key in TRANSPORT]
        with self.reading_peer():
            nodes = await read_nodes(self.store, self.peer, names, self.spend)
        try:
            found = {path: read_transport(nodes, path) for path in self._transports}
        except ConfigError:
            found = {}
        if found != self._transports:
            self.feed(Local.CHANGED)

    async def _disconnect(self) -> None:
        streams, self.streams = self.streams, {}
        self._transports = {}
        self._availability.forget()
        now = asyncio.get_running_loop().time()
        self._backoff.ended(now)
        self._reoffers.ended(now)
        for stream in streams.values():
            await stream.detach()
        for output in self._outputs.values():
            output.close()
        self._outputs.clear()
        self._usage.streams.pop(self._devid, None)

    def _output(self, spec: OutputSpec) -> Output:
        if spec not in self._outputs:
            self._outputs[spec] = self._makes.make(spec, self.policy)
        return self._outputs[spec]

    def _host(
        self, config: StreamConfig, transport: Transport, nodes: dict[str, str]
    ) -> BackendStream:
        policy = self.policy
        capture = config.direction is Direction.CAPTURE
        spec = self._spec(capture=capture)
        if spec != policy.output and not policy.ask_microphone:
            self.log.warning(
                "%s/%s: microphone is not allowed, the guest records silence; allow it with "
                "`xen-pv-audio mic allow %d`, or microphone = true in [domain.%s] of the policy "
                "file",
                self.where,
                config.path,
                self._frontend_id,
                self.domain_name,
            )
        # of either output: another may be ordered while it is open
        formats = tuple(filter(self._output(policy.output).supports, config.formats))
        return BackendStream(
            self._engine,
            self._domain,
            self._frontend_id,
            replace(config, formats=formats),
            transport,
            self._output(spec),
            self._identity(config),
            where=f"{self.where}/{config.path}",
            position_ext=self._position_ext and nodes.get(FEATURE_POSITION_EXT) == "1",
            liveness_ext=nodes.get(FEATURE_LIVENESS_EXT) == "1",
            volume_ext=nodes.get(FEATURE_VOLUME_EXT) == "1",
            record=None if capture else self._recording(config.path),
            on_error=self._failed,
            on_start=self._started,
            policy=policy,
            guest=self._guest,
        )

    def _recording(self, stream: str) -> Path | None:
        """Where a playback stream is recorded; in a directory each stream has its own file."""
        if self._record is None or not self._record.is_dir():
            return self._record
        name = f"{self.domain_name}.{self._devid}.{stream}.wav"
        return self._record / name.replace("/", ".")

    def _identity(self, config: StreamConfig) -> Identity:
        asked = parse_unique_id(config.unique_id)
        target = asked.device if self.policy.allows_target(asked.device) else ""
        wants_role = asked.prop_name == "media.role" and self.policy.allows_role(asked.prop_value)
        return Identity(
            self.domain_name,
            f"vsnd/{self._devid} {config.path}",
            config.direction is Direction.CAPTURE,
            target,
            asked.prop_value if wants_role else "",
            self.log,
        )

    def _failed(self, error: XenPvAudioError) -> None:
        if isinstance(error, PeerGoneError):
            self.log.warning("%s: waiting for another one", error)
            self.feed(Local.GONE)
        else:
            self.log.warning("%s: its card is closed, and offered again", error)
            self.feed(Local.ERROR)
