"""A host's side of a stream that cannot be made leaves nothing behind that acts later."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from xenpvaudio.backend import outputs
from xenpvaudio.backend.outputs import PipewireOutput
from xenpvaudio.backend.port import Identity
from xenpvaudio.engine.engine import Engine
from xenpvaudio.errors import UnavailableError
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.sndif.volume import Mixer
from xenpvaudio_native.pipewire import Pipewire, PwEvent, PwEventKind, StreamState
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


def test_a_node_that_is_refused_again_and_again_is_complained_about_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A host without any device: the session manager gives up each node that asks for one."""

    class Host:
        def __init__(self, *arguments: Any) -> None: ...
        def set_active(self, active: bool) -> None: ...
        def set_volumes(self, linear: Any, mute: bool) -> None: ...
        def free(self) -> None: ...

    async def body() -> None:
        engine = Engine(None)
        monkeypatch.setattr(outputs, "HostNode", Host)
        engine.pipewire, engine.pipewire_up = cast(Pipewire, object()), True
        port = PipewireOutput(engine).open(
            cast(BackStream, object()), CONFIG, Identity("work", "vsnd/0 0/0", False), Mixer(2)
        )
        assert isinstance(port, outputs._PipewirePort)

        def state(number: int, text: str = "") -> PwEvent:
            return PwEvent(PwEventKind.STATE, port._id, (number, 0, 0), text)

        lines = []
        for _ in range(3):
            port._event(state(StreamState.ERROR, "no target node available"))
            port._connect_again()
            lines.append(len(caplog.messages))
        port._event(state(StreamState.STREAMING))
        port._event(state(StreamState.ERROR, "no target node available"))
        lines.append(len(caplog.messages))
        port.close()
        engine.pipewire = None
        engine.close()
        assert lines == [1, 1, 1, 2]

    asyncio.run(body())


class Node:
    """One in the host's graph; how many there have been."""

    made = 0

    def __init__(self, *arguments: Any) -> None:
        Node.made += 1

    def set_active(self, active: bool) -> None: ...
    def set_volumes(self, linear: Any, mute: bool) -> None: ...
    def free(self) -> None: ...


@pytest.mark.parametrize("active", [True, False])
def test_a_stream_that_no_device_takes_is_made_anew_while_it_is_active(
    active: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, each time later; then a device takes it, and it stays."""
    waited: list[float] = []

    async def body() -> None:
        engine = Engine(None)
        monkeypatch.setattr(outputs, "HostNode", Node)
        Node.made = 0
        loop = asyncio.get_running_loop()
        later = loop.call_later

        def at_once(seconds: float, call: Any, *arguments: Any) -> asyncio.TimerHandle:
            waited.append(seconds)
            return later(0, call, *arguments)

        engine.pipewire, engine.pipewire_up = cast(Pipewire, object()), True
        port = PipewireOutput(engine).open(
            cast(BackStream, object()), CONFIG, Identity("work", "vsnd/0 0/0", False), Mixer(2)
        )
        assert isinstance(port, outputs._PipewirePort)

        def state(number: int) -> None:
            port._event(PwEvent(PwEventKind.STATE, port._id, (number, 0, 0), ""))

        port.set_active(True)
        state(StreamState.STREAMING)
        if not active:
            port.set_active(False)
        monkeypatch.setattr(loop, "call_later", at_once)
        state(StreamState.PAUSED)
        while active and Node.made < 3:
            await asyncio.sleep(0)
        state(StreamState.STREAMING)
        for _ in range(5):
            await asyncio.sleep(0)
        assert Node.made == (3 if active else 1)
        port.close()
        engine.pipewire = None
        engine.close()

    asyncio.run(body())
    first = outputs.UNLINKED_SEC
    assert waited == ([first, 2 * first, 4 * first] if active else [])


def test_a_new_host_stream_tells_that_it_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session manager may have set what it remembers."""
    told: list[tuple[list[float], bool, bool]] = []

    class Host:
        def __init__(self, *arguments: Any) -> None: ...
        def set_active(self, active: bool) -> None: ...
        def set_volumes(self, linear: Any, mute: bool) -> None: ...
        def volumes(self) -> tuple[list[float], bool]:
            return [0.25, 0.5], True

        def free(self) -> None: ...

    async def body() -> None:
        engine = Engine(None)
        monkeypatch.setattr(outputs, "HostNode", Host)
        engine.pipewire, engine.pipewire_up = cast(Pipewire, object()), True
        stream, identity = cast(BackStream, object()), Identity("work", "vsnd/0 0/0", False)
        port = PipewireOutput(engine).open(
            stream, CONFIG, identity, Mixer(2), lambda *what: told.append(what)
        )
        assert isinstance(port, outputs._PipewirePort)
        volume = PwEvent(PwEventKind.VOLUME, port._id, (0, 0, 0), "")
        monkeypatch.setattr(outputs, "RESTORE_SEC", 3600.0)
        port._event(volume)
        monkeypatch.setattr(outputs, "RESTORE_SEC", 0.0)
        port._event(volume)
        port.close()
        engine.pipewire = None
        engine.close()
        assert told == [([0.25, 0.5], True, True), ([0.25, 0.5], True, False)]

    asyncio.run(body())
