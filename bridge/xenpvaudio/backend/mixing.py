"""One stream's volumes and mutes: the guest's requests, and the host's node, no oftener than a host
can bear: it tells everybody of a volume, and its session manager writes it down. What somebody else
sets on the host's node, the guest is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from xenpvaudio.sndif import packets, stream_rules
from xenpvaudio.sndif.codes import Operation, Status
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.sndif.volume import Mixer
from xenpvaudio.sndif.volume_ext import MAX_CHANNELS, MUTE_CHANGED, VOLUME_CHANGED, VolumeEvent
from xenpvaudio.xen.api import Mapping

VOLUME_SEC = 0.05
# All streams of a guest together, so often in a row and then so often a second: twice what somebody
# who drags a slider asks for.
MOST_IN_A_ROW = 64
MOST_PER_SEC = 40


class VolumePace:
    """Of one guest: a host tells each volume to all its programs, and there may be many streams."""

    def __init__(self) -> None:
        self._due_sec = float("-inf")

    def rest_sec(self, now_sec: float) -> float:
        """A volume is set now; until the stream's next one."""
        earliest_sec = now_sec - MOST_IN_A_ROW / MOST_PER_SEC
        self._due_sec = max(self._due_sec, earliest_sec) + 1 / MOST_PER_SEC
        return max(VOLUME_SEC, self._due_sec - now_sec)


class StreamMixer:
    """`apply`: sets the mixer on the stream's port, if it has one; `tell`: gives the guest an event
    of the volume extension; `mixes`: whether that port makes anything louder or softer; `sets`:
    whether the guest sets its volumes at each OPEN; `silenced`: by the host's order; `pace`: the
    guest's."""

    def __init__(
        self,
        apply: Callable[[Mixer], bool],
        tell: Callable[[bytes], None],
        mixes: Callable[[], bool],
        *,
        sets: bool,
        silenced: bool,
        pace: VolumePace,
    ) -> None:
        self._apply = apply
        self._tell = tell
        self._mixes = mixes
        self._silenced = silenced
        self.mixer = Mixer(0)
        self._sets = sets
        self._pace = pace
        self._due = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, channels: int) -> Mixer:
        """An OPEN: everything is at 0 dB."""
        self.mixer = Mixer(channels, silenced=self._silenced)
        self._due = False
        self._tell_guest(0)
        return self.mixer

    def end(self) -> None:
        """A CLOSE: what is due no longer matters."""
        self._due = False

    def silence(self, silenced: bool) -> None:
        """At once: it is not the guest who asks. It goes over what was set in the host's mixer."""
        self._silenced = self.mixer.silenced = silenced
        lifted = self.mixer.by_hand and not silenced
        if lifted:
            self.mixer.muted = [False] * len(self.mixer.muted)
            self.mixer.by_hand = False
        self._apply(self.mixer)
        self._tell_guest(lifted * MUTE_CHANGED)

    def _tell_guest(self, changed: int) -> None:
        mixer = self.mixer
        if 0 < len(mixer.steps) <= MAX_CHANNELS:
            event = VolumeEvent(changed, mixer.silenced, (*mixer.steps,), (*mixer.muted,))
            self._tell(event.pack())

    def host_changed(self, linear: Sequence[float], mute: bool, fresh: bool) -> None:
        """What the host's node has now. `fresh`: it is so new that the session manager may have
        given it what it remembers of the last one. That is older than what the guest has set since,
        which is set again; a guest that sets nothing has it as it always had."""
        if len(linear) != len(self.mixer.steps):
            return
        wanted = list(self.mixer.steps), list(self.mixer.muted)
        volumes, mutes = self.mixer.host_changed(linear, mute)
        if not (volumes or mutes):
            return
        if fresh and (self._sets or self.mixer.by_guest):
            self.mixer.steps, self.mixer.muted = wanted
            self.mixer.by_hand = False
            self._due = True
            self._set()
        else:
            self._tell_guest(volumes * VOLUME_CHANGED | mutes * MUTE_CHANGED)

    def serve(
        self,
        request: packets.TransferRequest,
        opened: Config | None,
        buffer: Mapping | None,
        write: Callable[[Sequence[int], int, bytes], Status],
    ) -> Status:
        """A volume operation through the shared buffer; what is read there is copied once. `write`:
        puts an answer there, given the buffer's references and where it begins."""
        if opened is None or buffer is None:
            return Status.EIO
        status = stream_rules.validate_transfer(request, opened)
        if status is not Status.OK:
            return status
        operation, channels = request.operation, len(self.mixer.steps)
        begin = request.offset_bytes
        if operation is Operation.GET_VOLUME:
            return write(buffer.refs, begin, packets.pack_volumes(self.mixer.steps))
        if not self._mixes():
            return Status.EOPNOTSUPP  # the guest will do it
        length = packets.transfer_control_bytes(operation, channels)
        data = bytes(buffer.view[begin : begin + length])
        if operation is Operation.SET_VOLUME:
            self.mixer.set_steps(packets.unpack_volumes(data, channels))
        else:
            chosen = packets.unpack_mutes(data, channels)
            self.mixer.set_muted(chosen, operation is Operation.MUTE)
        self._due = True
        # the guest's next frames lie in the ring behind this: first its answer
        asyncio.get_running_loop().call_soon(self._set)
        return Status.OK

    def _set(self) -> None:
        """Now, or with what is newest then."""
        if not self._due or self._timer is not None:
            return
        if self._apply(self.mixer):
            self._due = False
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._pace.rest_sec(loop.time()), self._rested)

    def _rested(self) -> None:
        self._timer = None
        self._set()
