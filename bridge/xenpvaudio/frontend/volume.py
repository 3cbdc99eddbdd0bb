"""Who makes a stream as loud as its route says: the host, or the guest: there PipeWire, or without
it the PCM of an ALSA program (pw_module/src/pcm/gain.c).

The host, if the backend can: then the samples go there untouched, and what people see on both sides
is the same. Each stream is asked anew when it is opened and not started yet. What the backend
refuses, the guest does, as for hardware without a mixer; so nothing is done twice, and nothing
changes hands while sound is heard. A backend that refuses later keeps what it took before, and the
guest makes the difference.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from xenpvaudio.logs.peer_log import PeerLog
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.codes import Operation, Status, status_name
from xenpvaudio.sndif.volume import to_linear, to_steps
from xenpvaudio.sndif.volume_ext import MUTE_CHANGED, VOLUME_CHANGED, VolumeEvent

from .link import FrontLink, NoAnswerError

# A slider that is dragged tells of each step: as often is the backend asked, and the graph told.
VOLUME_SEC = 0.05

Show = Callable[[Sequence[float] | None, bool | None], None]
"""Sets what the card's route shows: linear volumes and mute, each if it is not None."""


@dataclass(frozen=True, slots=True)
class Loudness:
    """Linear volumes, one a channel, and mute."""

    volumes: tuple[float, ...]
    mute: bool


def for_channels(volumes: Sequence[float], channels: int) -> list[float]:
    """Volumes of a stream whose channels may be others than the route's: then each is the mean."""
    if len(volumes) == channels:
        return list(volumes)
    return [sum(volumes) / len(volumes)] * channels


class StreamVolume:
    """One stream's. `where`: names it in the log; `show`: on the route; `wake`: settle() has
    something to do."""

    def __init__(
        self, where: str, show: Show, wake: Callable[[], None], log: logging.Logger | PeerLog
    ) -> None:
        self._where = where
        self._show = show
        self._wake = wake
        self._log = log
        self._wanted = Loudness((1.0,), False)
        self._host_steps: list[int] | None = None
        """What the backend has taken; None: nothing."""
        self._host_mute: bool | None = None
        self._asks_volume = self._asks_mute = False
        """It has refused nothing yet."""
        self._unheard = False
        """It left such a request unanswered: it is asked no more."""
        self._silenced = False
        """By an order of the host's: the route shows a mute that the guest has not asked for."""
        self._complained: set[Operation] = set()
        self._told: VolumeEvent | None = None
        self._tell_timer: asyncio.TimerHandle | None = None
        self._ask_timer: asyncio.TimerHandle | None = None

    # -- what is wanted, and what is left to the guest

    def want(self, volumes: Sequence[float], mute: bool) -> None:
        """What the route shows now, whoever has set it."""
        if self._silenced:
            if mute:
                mute = self._wanted.mute
            else:  # somebody here lifted it, who cannot
                self._show(None, True)
        wanted = Loudness((*volumes,), mute)
        if wanted != self._wanted:
            self._wanted = wanted
            self._wake()

    def soft(self, channels: int) -> Loudness:
        """What is to be done in the guest."""
        volumes = for_channels(self._wanted.volumes, channels)
        if self._host_steps is not None:
            done = for_channels([to_linear(steps) for steps in self._host_steps], channels)
            volumes = [
                1.0 if self._asks_volume or there == 0 else value / there
                for value, there in zip(volumes, done, strict=True)
            ]
        return Loudness((*volumes,), self._wanted.mute and not self._asks_mute)

    @property
    def by_host(self) -> bool:
        """Whether the backend makes the volume."""
        return self._asks_volume

    def _steps(self, channels: int) -> list[int]:
        return [to_steps(volume) for volume in for_channels(self._wanted.volumes, channels)]

    # -- what the backend is asked

    async def begin(self, link: FrontLink, channels: int) -> None:
        """The stream is opened, at 0 dB as every one, and not started."""
        self.ended()
        if self._unheard:
            return
        self._asks_volume = self._asks_mute = True
        try:
            await self._set_volume(link, channels)
            await self._set_mute(link, channels)
        except NoAnswerError:
            self._unheard = True
            self.ended()
            raise

    def ended(self) -> None:
        """Nothing is open."""
        self._host_steps = self._host_mute = None
        self._asks_volume = self._asks_mute = False

    async def settle(self, link: FrontLink, channels: int) -> bool:
        """Tells the backend of an open stream what has changed; whether it refused, and soft() says
        something else. What the host changed is no wish of the guest's, once it is shown."""
        if self._ask_timer is not None or self._told is not None:
            return False
        before = self._asks_volume, self._asks_mute
        volume = self._asks_volume and self._host_steps != self._steps(channels)
        mute = self._asks_mute and self._host_mute != self._wanted.mute
        if volume:
            await self._set_volume(link, channels)
        if mute:
            await self._set_mute(link, channels)
        if volume or mute:
            loop = asyncio.get_running_loop()
            self._ask_timer = loop.call_later(VOLUME_SEC, self._rested)
        return before != (self._asks_volume, self._asks_mute)

    def _rested(self) -> None:
        self._ask_timer = None
        self._wake()

    async def _set_volume(self, link: FrontLink, channels: int) -> None:
        steps = self._steps(channels)
        status = await link.control(Operation.SET_VOLUME, packets.pack_volumes(steps))
        if status == Status.OK:
            self._host_steps = steps
        elif status is not None:
            self._asks_volume = False
            self._refused(Operation.SET_VOLUME, status)

    async def _set_mute(self, link: FrontLink, channels: int) -> None:
        mute = self._wanted.mute
        operation = Operation.MUTE if mute else Operation.UNMUTE
        status = await link.control(operation, packets.pack_mutes([True] * channels))
        if status == Status.OK:
            self._host_mute = mute
        elif status is not None:
            self._asks_mute = False
            self._refused(operation, status)

    def _refused(self, operation: Operation, status: int) -> None:
        """Said once: each stream that opens would say it again."""
        if operation in self._complained:
            return
        self._complained.add(operation)
        self._log.info(
            "%s: the backend refused %s with %s: it is done here",
            self._where,
            operation.name,
            status_name(status),
        )

    # -- what the host says

    def told(self, event: VolumeEvent) -> None:
        """The host has changed something: the route shows it, now or with what is newest then."""
        if event.changed & VOLUME_CHANGED and self._asks_volume and event.steps:
            self._host_steps = list(event.steps)
        if event.changed & MUTE_CHANGED and self._asks_mute:
            self._host_mute = all(event.muted)
        if self._told is not None:
            event = replace(event, changed=event.changed | self._told.changed)
        self._told = event
        if self._tell_timer is None:
            self._take_told()

    def _take_told(self) -> None:
        self._tell_timer = None
        event, self._told = self._told, None
        if event is None:
            return
        loop = asyncio.get_running_loop()
        self._tell_timer = loop.call_later(VOLUME_SEC, self._take_told)
        volumes: list[float] | None = None
        mute: bool | None = None
        if event.changed & VOLUME_CHANGED and self._asks_volume and event.steps:
            volumes = [to_linear(steps) for steps in event.steps]
            wanted = for_channels(volumes, len(self._wanted.volumes))
            self._wanted = replace(self._wanted, volumes=(*wanted,))
        if event.changed & MUTE_CHANGED and self._asks_mute:
            mute = all(event.muted)
            self._wanted = replace(self._wanted, mute=mute)
        if event.silenced != self._silenced or mute is not None:
            self._silenced = event.silenced
            mute = event.silenced or self._wanted.mute
        if volumes is not None or mute is not None:
            self._show(volumes, mute)
        self._wake()  # what was set in the guest meanwhile

    def close(self) -> None:
        """The connection has ended: its host's orders are over."""
        self.ended()
        for timer in (self._ask_timer, self._tell_timer):
            if timer is not None:
                timer.cancel()
        self._ask_timer = self._tell_timer = self._told = None
        if self._silenced:
            self._silenced = False
            self._show(None, self._wanted.mute)
