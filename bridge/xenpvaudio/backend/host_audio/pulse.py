"""The output "pulse": streams of the host's PulseAudio server, named for the guest."""

from __future__ import annotations

from collections.abc import Mapping

from xenpvaudio.config import DomainPolicy
from xenpvaudio.logs.quoting import property_text
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.sndif.volume import Mixer
from xenpvaudio_native.plane import BackStream
from xenpvaudio_native.pulse import (
    FRAME_BYTES,
    PulseEvent,
    PulseEventKind,
    PulseStream,
    supports_format,
)

from ..port import Again, Complaints, Identity, OnVolume, Port, nobody
from .server import PulseServer
from .shared import RelayedOutput, host_quantum_frames, make_relay, named_target


class PulseOutput(RelayedOutput):
    """For one card."""

    kind = "pulse"
    frame_bytes = FRAME_BYTES

    def __init__(self, server: PulseServer, policy: DomainPolicy) -> None:
        self._server = server
        self._policy = policy

    def supports(self, fmt: PcmFormat) -> bool:
        return supports_format(fmt)

    def open(
        self,
        stream: BackStream,
        config: Config,
        identity: Identity,
        mixer: Mixer,
        on_volume: OnVolume = nobody,
    ) -> Port:
        return PulsePort(self._server, stream, config, identity, mixer, on_volume, self._policy)


class PulsePort:
    """One open stream: in the server whenever there is one, made anew when that one is lost."""

    mixes = True

    def __init__(
        self,
        server: PulseServer,
        stream: BackStream,
        config: Config,
        identity: Identity,
        mixer: Mixer,
        on_volume: OnVolume,
        policy: DomainPolicy,
    ) -> None:
        self._server = server
        self._config = config
        self._identity = identity
        self._mixer = mixer
        self._on_volume = on_volume
        self._policy = policy
        self._active = False
        self._told = False  # what its volume is
        self._stream: PulseStream | None = None
        self._again = Again(self._connect_again)
        self._complaints = Complaints(identity)
        self.muted: bool | None = None
        self._id = server.new_id()
        self._relay = make_relay(stream, config, identity)
        try:
            if server.up:
                self._connect()
            self._relay.connect()
        except BaseException:  # whatever it was: nobody else knows the relay yet
            self._disconnect()
            self._relay.free()
            raise
        server.on_event(self._id, self._event, f"{identity.domain} {identity.stream}")
        server.watch(self._server_changed)

    @property
    def complaint(self) -> str:
        return self._complaints.last

    def _properties(self) -> Mapping[str, str]:
        identity = self._identity
        properties = {
            "application.name": identity.domain,
            "application.icon_name": "computer",
            "application.process.binary": "xen-pv-audio",
            "media.name": identity.stream,
            # by what module-stream-restore remembers a volume
            "module-stream-restore.id": f"xenpv.{identity.domain}.{identity.stream}",
        }
        if identity.role:
            properties["media.role"] = identity.role
        return {key: property_text(value) for key, value in properties.items()}

    def _connect(self) -> None:
        config = self._config
        self._stream = PulseStream(
            self._server.pulse,
            self._relay,
            self._id,
            config.format,
            config.rate,
            config.channels,
            host_quantum_frames(config, self._policy),
            named_target(self._identity, self._policy),
            self._properties(),
        )
        self._told = False
        self._stream.set_active(self._active)
        if self._mixer.by_guest or self._mixer.silenced:
            self.apply(self._mixer)

    def _disconnect(self) -> None:
        self.muted = None
        self._again.call_off()
        if self._stream is not None:
            self._stream.free()
            self._stream = None

    def _server_changed(self, up: bool) -> None:
        if not up:
            self._disconnect()
        elif self._stream is None:
            self._connect()

    def _event(self, event: PulseEvent) -> None:
        if self._stream is None:
            return
        if event.kind is PulseEventKind.VOLUME:
            # module-stream-restore has set what it remembers before anybody can ask
            fresh, self._told = not self._told, True
            linear, self.muted = self._stream.volumes()
            self._on_volume(linear, self.muted, fresh)
        elif event.there:
            self._complaints.end()
        elif not self._again.due:
            self._complaints.say(f"PulseAudio gave its stream up ({event.text}): making a new one")
            self._again.soon()

    def _connect_again(self) -> None:
        self._disconnect()
        if self._server.up:
            self._connect()

    def set_active(self, active: bool) -> None:
        self._active = active
        if self._stream is not None:
            self._stream.set_active(active)

    def apply(self, mixer: Mixer) -> None:
        self._mixer = mixer
        if self._stream is not None:
            self._stream.set_volumes(*mixer.taken())

    def close(self) -> None:
        self._server.unwatch(self._server_changed)
        self._server.forget(self._id)
        self._disconnect()
        self._relay.disconnect()

    def free(self) -> None:
        self._relay.free()
