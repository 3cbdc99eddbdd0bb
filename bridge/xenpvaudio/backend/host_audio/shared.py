"""What outputs through a relay have in common: how much they take at once, whose word a device's
name is. The event loop's thread."""

from __future__ import annotations

from typing import ClassVar

from xenpvaudio.config import DomainPolicy
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio_native.plane import BackStream
from xenpvaudio_native.relay import Relay

from ..policy import HOST_RATE, quantum_frames
from ..port import HOST_QUANTUM_FRAMES, Identity

QUANTA = 4
"""So many wait on the way to the device (QUANTA in pulse/stream.c and alsa/device.c)."""


def need_frames(rate: int) -> int:
    """How much a host takes ahead of what is heard, at the most."""
    return QUANTA * HOST_QUANTUM_FRAMES * rate // HOST_RATE


def room_frames(rate: int) -> int:
    """Of a relay: what a device that was late may ask for at once."""
    return max(rate // 4, need_frames(rate))


def host_quantum_frames(config: Config, policy: DomainPolicy) -> int:
    """As short as the guest's period, within the policy."""
    period = config.period_frames or config.buffer_frames // QUANTA
    return quantum_frames(min(period, HOST_QUANTUM_FRAMES), config.rate, policy)


def make_relay(stream: BackStream, config: Config, identity: Identity) -> Relay:
    return Relay(
        stream,
        capture=identity.capture,
        frame_bytes=config.frame_bytes,
        rate=config.rate,
        room_frames=room_frames(config.rate),
    )


def named_target(identity: Identity, policy: DomainPolicy) -> str:
    """The device that the guest has chosen, in the policy's own words: a guest's are handed to no
    library as the name of a device, not even where the policy allows any ("*"). Empty: none."""
    return next((target for target in policy.targets if target == identity.target), "")


class RelayedOutput:
    """What an output through a relay says of itself: it resamples nothing, and each stream takes a
    relay. `frame_bytes`: of one frame there."""

    frame_bytes: ClassVar[int]

    def memory_bytes(self, rate: int) -> int:
        return room_frames(rate) * self.frame_bytes

    def check(self, rate: int) -> None:
        """Nothing is resampled here."""

    def as_opens(self, rate: int) -> int:
        return 1

    def need_frames(self, rate: int) -> int:
        return need_frames(rate)

    def close(self) -> None:
        """Its ports are closed."""
