"""What an output is to a card, and a port to one open stream (outputs.py has those there are)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from xenpvaudio.engine.engine import NODE_RETRY_SEC
from xenpvaudio.logs.peer_log import PeerLog
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.sndif.volume import Mixer
from xenpvaudio_native.plane import BackStream

log = logging.getLogger(__name__)

# What a host may take at once before anything was measured: PipeWire's default quantum.
HOST_QUANTUM_FRAMES = 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """What the host shows of a stream: chosen by the host, never by the guest."""

    domain: str
    stream: str  # "vsnd/0 0/1"
    capture: bool
    target: str = ""
    role: str = ""
    log: logging.Logger | PeerLog = log


OnVolume = Callable[[list[float], bool, bool], None]
"""Told of a host stream's linear volumes, its mute, and whether it has just been made."""


def nobody(_volumes: list[float], _mute: bool, _fresh: bool) -> None:
    """Who is not interested."""


class Again:
    """`what` is done a moment later, unless it is called off: how a lost stream is made anew, or
    tried again. Once for all who ask meanwhile."""

    def __init__(self, what: Callable[[], None]) -> None:
        self._what = what
        self._timer: asyncio.TimerHandle | None = None

    @property
    def due(self) -> bool:
        return self._timer is not None

    def soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(NODE_RETRY_SEC, self._now)

    def call_off(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _now(self) -> None:
        self._timer = None
        self._what()


class Complaints:
    """Once each, until sound flows again: a host without a device refuses again and again."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self.last = ""

    def say(self, why: str) -> None:
        if why != self.last:
            self.last = why
            identity = self._identity
            identity.log.warning("%s %s: %s", identity.domain, identity.stream, why)

    def end(self) -> None:
        self.last = ""


class Port(Protocol):
    """The host side of one open stream. `mixes`: it is as loud as its mixer says; `muted`: as it is
    on the host, whoever did it, and None where there is nothing to mute, or not yet; `complaint`:
    why there is no sound, in words."""

    mixes: bool

    @property
    def muted(self) -> bool | None: ...
    @property
    def complaint(self) -> str: ...
    def set_active(self, active: bool) -> None: ...
    def apply(self, mixer: Mixer) -> None:
        """Sets volumes and mute on the host."""

    def close(self) -> None: ...
    def free(self) -> None:
        """After the stream's RELEASED or DETACHED notice that follows close()."""


class Output(Protocol):
    """The host side of one card. `kind`: config.OutputSpec's word for it."""

    kind: str

    def supports(self, fmt: PcmFormat) -> bool: ...
    def need_frames(self, rate: int) -> int:
        """How many frames the host takes ahead of what is heard, at the most."""

    def memory_bytes(self, rate: int) -> int:
        """What is allocated for a stream at this rate, at the most."""

    def check(self, rate: int) -> None:
        """ConfigError if no stream of the guest may be opened at this rate."""

    def as_opens(self, rate: int) -> int:
        """How many usual OPENs are as much work as one at this rate; 1 if it will be refused."""

    def open(
        self,
        stream: BackStream,
        config: Config,
        identity: Identity,
        mixer: Mixer,
        on_volume: OnVolume = nobody,
    ) -> Port: ...
    def close(self) -> None: ...
