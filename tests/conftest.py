"""Private PipeWire sessions for tests: a guest's and a host's, ended with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.session import PipeWireSession

SessionFactory = Callable[..., PipeWireSession]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[SessionFactory]:
    """Makes a started session: session(name, **options of PipeWireSession)."""
    with ExitStack() as stack:

        def make(name: str = "session", **options: Any) -> PipeWireSession:
            return stack.enter_context(PipeWireSession(tmp_path / name, name=name, **options))

        yield make


@pytest.fixture
def guest_session(session: SessionFactory) -> SessionFactory:
    """A guest's PipeWire: no device but those that the frontend will make."""
    return lambda **options: session("guest", **options)


@pytest.fixture
def host_session(session: SessionFactory) -> SessionFactory:
    """A host's PipeWire with a null sink, or with one that writes what it plays to `fifo`."""

    def make(*, fifo: Path | None = None, **options: Any) -> PipeWireSession:
        sink = pwconf.null_sink() if fifo is None else pwconf.pipe_sink(fifo)
        fragments = [sink, *options.pop("fragments", ())]
        return session("host", fragments=fragments, **options)

    return make
