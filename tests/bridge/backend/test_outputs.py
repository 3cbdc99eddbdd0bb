"""A host's side of a stream that cannot be made leaves nothing behind that acts later."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from xenpvaudio.backend import outputs
from xenpvaudio.backend.outputs import Identity, PipewireOutput
from xenpvaudio.engine.engine import Engine
from xenpvaudio.errors import UnavailableError
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.sndif.volume import Mixer
from xenpvaudio_native.pipewire import Pipewire
from xenpvaudio_native.plane import BackStream

CONFIG = Config(PcmFormat.S16_LE, 48000, 2, 256, 4096)


def test_a_port_that_could_not_connect_is_not_connected_when_pipewire_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[Any, ...]] = []

    def refuse(*arguments: Any) -> None:
        made.append(arguments)
        raise UnavailableError("PipeWire refused a stream")

    async def body() -> None:
        engine = Engine(None)
        monkeypatch.setattr(outputs, "HostNode", refuse)
        engine.pipewire, engine.pipewire_up = cast(Pipewire, object()), True
        stream = cast(BackStream, object())
        with pytest.raises(UnavailableError):
            PipewireOutput(engine).open(
                stream, CONFIG, Identity("work", "vsnd/0 0/0", False), Mixer(2)
            )
        engine._tell_watchers(False)
        engine._tell_watchers(True)  # by now the stream may be freed
        assert len(made) == 1
        assert not engine._event_owners
        engine.pipewire = None
        engine.close()

    asyncio.run(body())
