"""Where the backend's streams go: the host's PipeWire, or a virtual device (null, loopback).
Outputs with threads of their own, PulseAudio and ALSA, are in host_audio.

Host policy chooses (config.py, host_audio/output_maker.py). An output belongs to one card; a port
to one open stream. Every port is closed before its BackStream is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from xenpvaudio.config import DomainPolicy, OutputSpec
from xenpvaudio.engine.engine import Engine
from xenpvaudio.errors import UnavailableError, XenPvAudioError
from xenpvaudio.logs.quoting import property_text
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.sndif.volume import Mixer
from xenpvaudio_native.pipewire import HostNode, PwEvent, PwEventKind, supports_format
from xenpvaudio_native.plane import BackStream, VirtualDevice

from .policy import HOST_RATE, check_resampler, quantum_frames, tick_frames
from .port import HOST_QUANTUM_FRAMES, Again, Complaints, Identity, OnVolume, Port, nobody
from .resampling import as_opens, resampler_bytes

# How long an active stream that no device takes waits for the session manager, at first and at the
# most. Then it is made anew: WirePlumber 0.4 links no stream that it finds when it starts.
UNLINKED_SEC = 3.0
MOST_UNLINKED_SEC = 60.0
# A session manager gives a stream the volume that it remembers when it finds it: within so long,
# and before it links it to a device.
RESTORE_SEC = 1.0


class PipewireOutput:
    """Streams of the host's graph, named for the guest."""

    kind = "pipewire"

    def __init__(self, engine: Engine, policy: DomainPolicy | None = None) -> None:
        self._engine = engine
        self._policy = policy or DomainPolicy()

    def supports(self, fmt: PcmFormat) -> bool:
        return supports_format(fmt)

    def memory_bytes(self, rate: int) -> int:
        return resampler_bytes(rate)

    def check(self, rate: int) -> None:
        check_resampler(rate, self._policy)

    def as_opens(self, rate: int) -> int:
        allowed = 0 < rate <= self._policy.max_rate
        return as_opens(rate, self._policy.max_resampler_bytes) if allowed else 1

    def need_frames(self, rate: int) -> int:
        return HOST_QUANTUM_FRAMES * rate // HOST_RATE

    def open(
        self,
        stream: BackStream,
        config: Config,
        identity: Identity,
        mixer: Mixer,
        on_volume: OnVolume = nobody,
    ) -> Port:
        self.check(config.rate)  # it may have been opened for another output
        return _PipewirePort(self._engine, stream, config, identity, mixer, on_volume, self._policy)

    def close(self) -> None:
        pass


class _PipewirePort:
    mixes = True

    def __init__(
        self,
        engine: Engine,
        stream: BackStream,
        config: Config,
        identity: Identity,
        mixer: Mixer,
        on_volume: OnVolume,
        policy: DomainPolicy,
    ) -> None:
        self._engine = engine
        self._on_volume = on_volume
        self._made_sec = 0.0
        self._played = False
        self._policy = policy
        self._stream = stream
        self._config = config
        self._identity = identity
        self._mixer = mixer
        self._active = False
        self._streaming = False
        self._unlinked: asyncio.TimerHandle | None = None
        self._unlinked_sec = UNLINKED_SEC
        self._id = engine.new_id()
        self._host: HostNode | None = None
        self._again = Again(self._connect_again)
        self._complaints = Complaints(identity)
        self.muted: bool | None = None
        # First what can fail: a port that nobody got must not be connected when PipeWire returns,
        # since its stream may be freed by then.
        if engine.pipewire_up:
            self._connect()
        where = f"{identity.domain} {identity.stream}"
        engine.on_event(self._id, self._event, self._failed, where)
        engine.watch_pipewire(self._pipewire_changed)

    @property
    def complaint(self) -> str:
        return self._complaints.last

    def _failed(self, error: XenPvAudioError) -> None:
        self._identity.log.error("%s", error)

    def _properties(self) -> Mapping[str, str]:
        identity, config = self._identity, self._config
        period = config.period_frames or config.buffer_frames // 4
        latency = quantum_frames(min(period, HOST_QUANTUM_FRAMES), config.rate, self._policy)
        properties = {
            "application.name": identity.domain,
            "application.process.binary": "xen-pv-audio",
            "application.icon-name": "computer",
            "media.type": "Audio",
            "media.category": "Capture" if identity.capture else "Playback",
            "media.name": identity.stream,
            "node.name": f"xenpv.{identity.domain}.{identity.stream.replace(' ', '.')}",
            "node.description": f"{identity.domain} (Xen PV Audio)",
            "node.latency": f"{latency}/{config.rate}",
        }
        if identity.target:
            properties["target.object"] = identity.target
        if identity.role:
            properties["media.role"] = identity.role
        return {key: property_text(value) for key, value in properties.items()}

    def _connect(self) -> None:
        assert self._engine.pipewire is not None
        self._host = HostNode(
            self._engine.pipewire,
            self._stream,
            self._id,
            self._identity.capture,
            self._config.format,
            self._config.rate,
            self._config.channels,
            self._config.format.sample_bytes or 0,
            self._properties(),
        )
        self._made_sec = asyncio.get_running_loop().time()
        self._played = False
        self._host.set_active(self._active)
        if self._mixer.by_guest or self._mixer.silenced:
            self.apply(self._mixer)
        self._seen(streaming=False)

    def _disconnect(self) -> None:
        self._end_patience()
        self.muted = None
        self._again.call_off()
        if self._host is not None:
            self._host.free()
            self._host = None

    def _pipewire_changed(self, up: bool) -> None:
        if not up:
            self._disconnect()
        elif self._host is None:
            self._connect()

    def _event(self, event: PwEvent) -> None:
        if self._host is None:
            return
        if event.kind is PwEventKind.VOLUME:
            age_sec = asyncio.get_running_loop().time() - self._made_sec
            linear, self.muted = self._host.volumes()
            self._on_volume(linear, self.muted, age_sec < RESTORE_SEC and not self._played)
        elif event.kind is PwEventKind.STATE and not event.lost_node:
            self._seen(streaming=event.streaming)
        elif event.lost_node and not self._again.due:
            self._complaints.say(event.loss)
            self._again.soon()

    def _seen(self, *, streaming: bool) -> None:
        """Whether a device takes its sound now, or gives it some."""
        self._streaming = streaming
        if streaming:
            self._played = True
            self._complaints.end()
            self._unlinked_sec = UNLINKED_SEC
        if streaming or not self._active:
            self._end_patience()
        elif self._unlinked is None:
            loop = asyncio.get_running_loop()
            self._unlinked = loop.call_later(self._unlinked_sec, self._still_unlinked)

    def _still_unlinked(self) -> None:
        """Each time later: it may be the host's will, as with WirePlumber's roles."""
        self._unlinked_sec = min(2 * self._unlinked_sec, MOST_UNLINKED_SEC)
        self._connect_again()

    def _end_patience(self) -> None:
        if self._unlinked is not None:
            self._unlinked.cancel()
            self._unlinked = None

    def _connect_again(self) -> None:
        self._disconnect()
        if not self._engine.pipewire_up:
            return
        try:
            self._connect()
        except UnavailableError as error:
            self._complaints.say(str(error))
            self._again.soon()

    def set_active(self, active: bool) -> None:
        self._active = active
        self._engine.need_pipewire(self._id, active)
        if self._host is not None:
            self._host.set_active(active)
            self._seen(streaming=self._streaming)

    def apply(self, mixer: Mixer) -> None:
        self._mixer = mixer
        if self._host is not None:
            self._host.set_volumes(*mixer.taken())

    def close(self) -> None:
        self._engine.unwatch_pipewire(self._pipewire_changed)
        self._engine.forget(self._id)
        self._disconnect()

    def free(self) -> None:
        """Nothing is left after close()."""


class VirtualOutput:
    """Virtual devices for one card. A device takes one playback and one capture stream of one rate,
    so a loopback returns what the card's playback played; streams that open while those places are
    taken get the next device, in the order of their opening. A device ends with its last stream:
    a guest may open at any number of rates."""

    def __init__(
        self, engine: Engine, spec: OutputSpec, policy: DomainPolicy | None = None
    ) -> None:
        self._engine = engine
        self.kind = spec.kind
        self._spec = spec
        self._policy = policy or DomainPolicy()
        self._devices: dict[tuple[int, int], VirtualDevice] = {}
        self._users: dict[tuple[int, int], int] = {}
        self._taken: set[tuple[int, int, bool]] = set()  # rate, index, capture

    def supports(self, fmt: PcmFormat) -> bool:
        return bool(fmt.sample_bytes)

    def need_frames(self, rate: int) -> int:
        return 2 * self.quantum_frames(rate)

    def quantum_frames(self, rate: int) -> int:
        return tick_frames(self._spec.quantum_frames, rate, self._policy)

    def memory_bytes(self, rate: int) -> int:
        frames = self.quantum_frames(rate)
        if self._spec.kind == "loopback":
            frames += round(self._spec.delay_sec * rate) + 4 * frames
        return frames * VirtualDevice.FRAME_BYTES

    def check(self, rate: int) -> None:
        """Nothing is resampled."""

    def as_opens(self, rate: int) -> int:
        return 1

    def device(self, rate: int, index: int = 0) -> VirtualDevice:
        """The device at this rate; `index` tells those apart that are open at the same time."""
        if (rate, index) not in self._devices:
            self._devices[rate, index] = VirtualDevice(
                self._engine.plane,
                rate,
                self.quantum_frames(rate),
                ppm=self._spec.ppm,
                loopback=self._spec.kind == "loopback",
                delay_frames=round(self._spec.delay_sec * rate),
                gain=self._spec.gain,
            )
        return self._devices[rate, index]

    def open(
        self,
        stream: BackStream,
        config: Config,
        identity: Identity,
        mixer: Mixer,
        on_volume: OnVolume = nobody,
    ) -> Port:
        index = 0
        while (place := (config.rate, index, identity.capture)) in self._taken:
            index += 1
        self._taken.add(place)
        device = self.device(config.rate, index)
        device.connect(stream)
        self._users[config.rate, index] = self._users.get((config.rate, index), 0) + 1
        spec = self._spec
        if spec.jitter_sec or spec.stall_sec:
            figures = (spec.jitter_sec, spec.stall_sec, spec.stall_every_sec)
            stream.inject_faults(*(round(seconds * 1e9) for seconds in figures))
        return _VirtualPort(
            spec.kind != "loopback",
            device,
            stream,
            lambda: self._taken.discard(place),
            lambda: self._leave(config.rate, index),
        )

    def _leave(self, rate: int, index: int) -> None:
        self._users[rate, index] -= 1
        if self._users[rate, index] == 0:
            del self._users[rate, index]
            self._devices.pop((rate, index)).free()

    def close(self) -> None:
        """After every stream's DETACHED notice."""
        for device in self._devices.values():
            device.free()
        self._devices.clear()


class _VirtualPort:
    muted = None
    complaint = ""

    def __init__(
        self,
        mixes: bool,
        device: VirtualDevice,
        stream: BackStream,
        leave: Callable[[], None],
        free: Callable[[], None],
    ) -> None:
        self.mixes = mixes
        self._device = device
        self._stream = stream
        self._leave = leave
        self._free = free

    def set_active(self, active: bool) -> None:
        """Its clock runs while the stream is open."""

    def apply(self, mixer: Mixer) -> None:
        """Nobody listens, and the guest reads back what it set; or it mixes nothing."""

    def close(self) -> None:
        self._device.disconnect(self._stream)
        self._leave()

    def free(self) -> None:
        self._free()
