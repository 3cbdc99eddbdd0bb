"""The output "alsa:DEVICE": a sound device of the host by alsa-lib alone, without any server.

It mixes nothing: a guest's volume is made in the guest, and what the host silences is silence
before it reaches the device. Two streams share a device only where it is made for that (dmix,
dsnoop).
"""

from __future__ import annotations

import asyncio

from xenpvaudio.config import DomainPolicy
from xenpvaudio.errors import UnavailableError
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.sndif.volume import Mixer
from xenpvaudio_native.alsa import FRAME_BYTES, AlsaState, AlsaStream, supports_format
from xenpvaudio_native.plane import BackStream

from ..port import Again, Complaints, Identity, OnVolume, Port, nobody
from .shared import RelayedOutput, host_quantum_frames, make_relay, named_target


class AlsaOutput(RelayedOutput):
    """For one card. `device`: alsa-lib's name of it, the policy's word."""

    kind = "alsa"
    frame_bytes = FRAME_BYTES

    def __init__(self, device: str, policy: DomainPolicy) -> None:
        self._device = device
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
        device = named_target(identity, self._policy) or self._device
        return AlsaPort(device, stream, config, identity, mixer, self._policy)


class AlsaPort:
    """One open stream. The device is open while it is active, so that others may have it after."""

    mixes = False

    def __init__(
        self,
        device: str,
        stream: BackStream,
        config: Config,
        identity: Identity,
        mixer: Mixer,
        policy: DomainPolicy,
    ) -> None:
        self._device = device
        self._config = config
        self._quantum_frames = host_quantum_frames(config, policy)
        self._active = False
        self._stream: AlsaStream | None = None
        self._again = Again(self._begin)
        self._complaints = Complaints(identity)
        self._loop = asyncio.get_running_loop()
        self.muted: bool | None = None
        self._relay = make_relay(stream, config, identity)
        try:
            self._relay.connect()
        except BaseException:  # whatever it was: nobody else knows the relay yet
            self._relay.free()
            raise
        self.apply(mixer)

    @property
    def complaint(self) -> str:
        return self._complaints.last

    def set_active(self, active: bool) -> None:
        self._active = active
        if not active:
            self._end()
        elif self._stream is None and not self._again.due:
            self._begin()

    def _begin(self) -> None:
        config = self._config
        try:
            self._stream = AlsaStream(
                self._relay,
                self._device,
                config.format,
                config.rate,
                config.channels,
                self._quantum_frames,
            )
        except UnavailableError as error:
            self._fail(str(error))
            return
        self._loop.add_reader(self._stream.fileno(), self._changed)

    def _fail(self, why: str) -> None:
        self._complaints.say(why)
        self._again.soon()

    def _changed(self) -> None:
        if self._stream is None:
            return
        state, why = self._stream.state()
        if state is AlsaState.RUNS:
            self._complaints.end()
        elif state is AlsaState.ENDED:
            self._end()
            self._fail(why)

    def _end(self) -> None:
        self._again.call_off()
        if self._stream is not None:
            self._loop.remove_reader(self._stream.fileno())
            self._stream.free()
            self._stream = None

    def apply(self, mixer: Mixer) -> None:
        self._relay.silence(mixer.silenced)
        self.muted = mixer.silenced

    def close(self) -> None:
        self._end()
        self._relay.disconnect()

    def free(self) -> None:
        self._relay.free()
