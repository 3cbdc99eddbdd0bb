"""One stream's volumes and mutes: the guest's requests, and the host's node, no oftener than a host
can bear: it tells everybody of a volume, and its session manager writes it down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from xenpvaudio.sndif import packets
from xenpvaudio.sndif.codes import Operation, Status
from xenpvaudio.sndif.volume import Mixer

VOLUME_SEC = 0.05


class StreamMixer:
    """`apply`: sets the mixer on the stream's port, if it has one; `silenced`: by the host's
    order."""

    def __init__(self, apply: Callable[[Mixer], bool], *, silenced: bool) -> None:
        self._apply = apply
        self._silenced = silenced
        self.mixer = Mixer(0)
        self._due = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, channels: int) -> Mixer:
        """An OPEN: everything is at 0 dB."""
        self.mixer = Mixer(channels, silenced=self._silenced)
        self._due = False
        return self.mixer

    def end(self) -> None:
        """A CLOSE: what is due no longer matters."""
        self._due = False

    def silence(self, silenced: bool) -> None:
        """At once: it is not the guest who asks."""
        self._silenced = self.mixer.silenced = silenced
        self._apply(self.mixer)

    def serve(
        self,
        operation: int,
        data: bytes,
        write: Callable[[bytes], Status],
    ) -> Status:
        """A volume operation; `data` is what the shared buffer held for it, `write` puts an answer
        there."""
        channels = len(self.mixer.steps)
        if operation == Operation.GET_VOLUME:
            return write(packets.pack_volumes(self.mixer.steps))
        if operation == Operation.SET_VOLUME:
            self.mixer.set_steps(packets.unpack_volumes(data, channels))
        else:
            chosen = packets.unpack_mutes(data, channels)
            self.mixer.set_muted(chosen, operation == Operation.MUTE)
        self._due = True
        self._set()
        return Status.OK

    def _set(self) -> None:
        """Now, or with what is newest then."""
        if not self._due or self._timer is not None:
            return
        if self._apply(self.mixer):
            self._due = False
            self._timer = asyncio.get_running_loop().call_later(VOLUME_SEC, self._rested)

    def _rested(self) -> None:
        self._timer = None
        self._set()
