"""A device at work: where to play, and the processes that it costs."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from xenpvaudio.sound.wav import write_wav
from xenpvaudio.testbed.session import PipeWireSession

RATE = 48000
SINK = "peer"
MODULES = ("/usr/lib", "/usr/local/lib")
NOISE_SEC = 60
"""Longer than any window."""


class NotHereError(Exception):
    """This side cannot run on this machine; why, in words."""


class Session(Protocol):
    """A PipeWireSession, or one of another process'."""

    def popen(self, args: Sequence[str], **options: Any) -> subprocess.Popen[Any]: ...


@dataclass(frozen=True)
class Side:
    """`session`: where the application is; `sink`: what it plays to; `processes`: what the sound
    costs, by name, without the application; `beside`: others that are woken by it."""

    name: str
    session: Session
    sink: str
    processes: Mapping[str, int]
    beside: Mapping[str, int]

    @contextmanager
    def playing(self, noise: Path, quantum: int, sink: str = "") -> Iterator[None]:
        """An application plays."""
        command = ["pw-play", "--target", sink or self.sink, f"--latency={quantum}"]
        player = self.session.popen([*command, str(noise)])
        try:
            yield
            if player.poll() is not None:
                raise RuntimeError(f"{self.name}: the player ended with {player.returncode}")
        finally:
            player.kill()
            player.wait()


Make = Callable[[Path, int], AbstractContextManager[Side]]
"""From an empty folder and a quantum."""


def session(
    folder: Path, name: str, quantum: int, *fragments: str, pulse: bool = False
) -> PipeWireSession:
    """Not started yet."""
    return PipeWireSession(
        folder / name,
        name=name,
        rate=RATE,
        quantum=quantum,
        max_quantum=quantum,
        fragments=fragments,
        pulse=pulse,
    )


def module(name: str, args: str) -> str:
    """A fragment that loads a module into the daemon. NotHereError where PipeWire has none."""
    file = f"pipewire-0.3/libpipewire-module-{name}.so"
    if not any(found for root in MODULES for found in Path(root).glob(f"**/{file}")):
        raise NotHereError(f"this PipeWire has no module-{name}")
    return f"context.modules = [ {{ name = libpipewire-module-{name} args = {{ {args} }} }} ]\n"


def write_noise(folder: Path) -> Path:
    """Long enough for a window."""
    file = folder / "noise.wav"
    write_wav(file, RATE, 2, "s16", random.Random(1).randbytes(4 * RATE * NOISE_SEC))
    return file
