"""One sndif stream that a program opens by the ALSA plugin, one program at a time.

The stream is opened with what the program asked for, and its frames are the program's until it
closes, dies, or the backend goes. In the last case what it has is lost, and its plugin asks anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from xenpvaudio.errors import ConfigError, PeerGoneError, XenPvAudioError
from xenpvaudio.frontend.link import FrontLink
from xenpvaudio.frontend.node import FrontendStream, Wanted
from xenpvaudio.sndif.codes import Direction
from xenpvaudio.sndif.config_space import Interval
from xenpvaudio.sndif.hwparams import Config, Limits
from xenpvaudio_native.guest_pcm import Pcm, PcmSpace
from xenpvaudio_native.plane import Notice, NoticeKind

LEAST_PERIOD_FRAMES = 64
MOST_BUFFER_BYTES = 1 << 22
"""Of a program's buffer, which is memory here, too."""
# A backend that was restarted is back within this.
OPEN_SEC = 8.0


class AlsaStream(FrontendStream):
    """A FrontendStream without a node: what is wanted is what a program has asked for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._preferred = self._settings
        self._asked: Config | None = None
        self._opened_for: Config | None = None
        self._changed = asyncio.Event()
        self._failure: XenPvAudioError | None = None
        self._pcm: Pcm | None = None
        self._pcm_id = 0
        self._detached = asyncio.Event()
        self.taken = False
        """By a program; whoever serves it sees to that."""

    # -- what a program may ask for

    def pcm_space(self) -> PcmSpace | None:
        """None while the backend has not said what it can do."""
        space, rates = self.space, Limits.of(self.config).rates
        if space is None or self.link is None:
            return None
        listed = () if isinstance(rates, Interval) else rates
        return PcmSpace(
            space.formats,
            space.rates.min,
            space.rates.max,
            [rate for rate in listed if rate in space.rates],
            space.channels.min,
            space.channels.max,
            max(LEAST_PERIOD_FRAMES, space.period_frames.min),
            min(self.config.buffer_bytes, MOST_BUFFER_BYTES),
        )

    def _check(self, asked: Config) -> None:
        space = self.space
        right = (
            space is not None
            and asked.format.mask & space.formats
            and asked.rate in space.rates
            and asked.channels in space.channels
            and LEAST_PERIOD_FRAMES <= asked.period_frames <= asked.buffer_frames
            and asked.buffer_bytes <= MOST_BUFFER_BYTES
        )
        if not right:
            raise ConfigError(f"{self.where}: a program asked for what is not offered: {asked}")

    # -- a program's PCM

    async def open_pcm(self, asked: Config) -> Pcm:
        """In place of what is open; not twice at once. ConfigError: that is not offered;
        PeerGoneError: no backend in time; others as the backend answers."""
        await self.close_pcm()
        self._check(asked)
        self._ask(asked)
        try:
            async with asyncio.timeout(OPEN_SEC):
                link = await self._ready()
            pcm_id = self._engine.new_id()
            pcm = Pcm(
                self._engine.plane,
                pcm_id,
                capture=self.config.direction is Direction.CAPTURE,
                frame_bytes=asked.frame_bytes,
                buffer_frames=asked.buffer_frames,
            )
        except TimeoutError:
            self._ask(None)
            raise self._failure or PeerGoneError(f"{self.where}: no backend") from None
        except BaseException:  # a program that leaves meanwhile cancels this, too
            self._ask(None)
            raise
        self._detached.clear()
        self._engine.on_notice(pcm_id, self._pcm_notice, self.failed, self.where)
        self._pcm, self._pcm_id = pcm, pcm_id
        self._set_route()
        pcm.bind(link.front)
        return pcm

    async def close_pcm(self) -> None:
        """Its program needs it no more; nothing if there is none."""
        pcm, self._pcm = self._pcm, None
        if pcm is None:
            return
        pcm.unbind()
        await self._detached.wait()
        self._engine.forget(self._pcm_id)
        pcm.free()
        self._ask(None)

    def _pcm_notice(self, notice: Notice) -> None:
        if notice.kind is NoticeKind.DETACHED:
            self._detached.set()

    def _ask(self, asked: Config | None) -> None:
        self._asked = asked
        self._failure = None
        self._want(Wanted(asked.format, asked.rate, asked.channels) if asked else None)

    async def _ready(self) -> FrontLink:
        """Once the stream is open for what was asked."""
        while self.link is None or self.opened is None or self._opened_for != self._asked:
            self._changed.clear()
            await self._changed.wait()
        return self.link

    # -- the stream

    def _set_route(self) -> None:
        """What the backend does not do of the volume is done to the samples here."""
        super()._set_route()
        if self._pcm is not None and self._opened_for is not None:
            soft = self.volume.soft(self._opened_for.channels)
            self._pcm.set_gain([0.0] if soft.mute else soft.volumes)

    def card_changed(self) -> None:
        super().card_changed()
        self._engine.changed()  # for who watches the volumes

    def _stays(self, opened: Config, wanted: Wanted | None) -> bool:
        return super()._stays(opened, wanted) and self._opened_for == self._asked

    async def _open(self, link: FrontLink, wanted: Wanted) -> Config:
        """With positions, and so captured frames, as often as the program looks for them."""
        asked = self._opened_for = self._asked
        if asked is not None:
            period_frames = min(asked.period_frames, self._preferred.period_frames)
            # what the program may write ahead, and what the host holds beside that
            buffer_frames = asked.buffer_frames + self._preferred.buffer_frames
            self._settings = replace(
                self._preferred, period_frames=period_frames, buffer_frames=buffer_frames
            )
        return await super()._open(link, wanted)

    async def _settle(self, link: FrontLink) -> None:
        await super()._settle(link)
        self._changed.set()

    def failed(self, error: XenPvAudioError) -> None:
        self._failure = error
        super().failed(error)

    @property
    def node_name(self) -> str:
        return ""
