"""Makes the outputs that the policy chooses. The event loop's thread."""

from __future__ import annotations

from collections.abc import Collection

from xenpvaudio.config import DomainPolicy, OutputSpec
from xenpvaudio.engine.engine import Engine
from xenpvaudio.errors import UnavailableError
from xenpvaudio_native.alsa import require_alsa

from ..outputs import PipewireOutput, VirtualOutput
from ..port import Output
from .alsa import AlsaOutput
from .pulse import PulseOutput
from .server import PulseServer


class OutputMaker:
    """For all cards, with what they share: the connections to the host's sound."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._server: PulseServer | None = None

    def make(self, spec: OutputSpec, policy: DomainPolicy) -> Output:
        """UnavailableError if this process runs without PipeWire, or the host has no library for
        it."""
        if spec.kind == "pulse":
            return PulseOutput(self._pulse(), policy)
        if spec.kind == "alsa":
            require_alsa()
            return AlsaOutput(spec.device, policy)
        if spec.kind != "pipewire":
            return VirtualOutput(self._engine, spec, policy)
        if self._engine.pipewire is None:
            raise UnavailableError(
                "this backend runs without PipeWire", hint="use --output pipewire"
            )
        return PipewireOutput(self._engine, policy)

    async def prepare(self, kinds: Collection[str], *, wait: bool) -> None:
        """UnavailableError for a library that is not there, and, unless it is to `wait` for that,
        for a server."""
        if "alsa" in kinds:
            require_alsa()
        if "pulse" in kinds and not wait:
            await self._pulse().first_answer()
        elif "pulse" in kinds:
            self._pulse()

    def _pulse(self) -> PulseServer:
        if self._server is None:
            self._server = PulseServer(self._engine)
        return self._server

    def close(self) -> None:
        """After every port."""
        if self._server is not None:
            self._server.close()
            self._server = None
