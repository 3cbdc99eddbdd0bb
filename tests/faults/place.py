"""Where faults happen: both halves on the simulated machine, an application that plays into the
guest's card and one that records from it, and what the host's loudspeaker and the recorder got.

The host's microphone hears what its loudspeaker plays. All times are of arrival, by one clock; what
is measured is told, never required.
"""

from __future__ import annotations

import array
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from interop.sound import RATE, noise, write_noise
from xenpvaudio.testbed.loudspeaker import Loudspeaker
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import GUEST_DOMID, SINK, SOURCE, Testbed, card_nodes

LIMIT_SEC = 40.0
"""No requirement: what never comes ends a test all the same."""
FRAME_BYTES = 8
PLAYED_SEC = 120
PEAK = 0.5
FRONT = f"/local/domain/{GUEST_DOMID}/device/vsnd/0"
BACK = f"/local/domain/0/backend/vsnd/{GUEST_DOMID}/0"
DAEMONS = ("pipewire", "wireplumber", "pipewire-pulse")

_MICROPHONE = """
context.modules = [
  { name = libpipewire-module-loopback
    args = {
      capture.props = {
        node.name = host-microphone-input
        stream.capture.sink = true
        target.object = recording-loudspeaker
        node.passive = true
      }
      playback.props = {
        node.name = host-microphone
        media.class = Audio/Source
        priority.session = 2000
      }
    }
  }
]
"""


def eventually(condition: Callable[[], Any], what: Callable[[], str] | str) -> Any:
    """The first true value of `condition()`."""
    end = time.monotonic() + LIMIT_SEC
    while not (value := condition()):
        assert time.monotonic() < end, what if isinstance(what, str) else what()
        time.sleep(0.02)
    return value


class Recorder:
    """A pw-record whose file is read as it grows; `nsec` of arrival is when that was noticed."""

    def __init__(self, session: PipeWireSession, path: Path) -> None:
        self._path = path
        path.unlink(missing_ok=True)
        form = ["--rate", str(RATE), "--format", "f32", "--channels", "2", "--latency", "1024"]
        self.process = session.popen(
            ["pw-record", "--target", SOURCE, *form, str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def frames(self) -> int:
        try:
            return max(0, self._path.stat().st_size - 128) // FRAME_BYTES
        except FileNotFoundError:
            return 0

    def data(self, first_frame: int = 0) -> bytes:
        """The header is a few frames long, and taken for as many of them."""
        try:
            with self._path.open("rb") as file:
                file.seek(128 + first_frame * FRAME_BYTES)
                data = file.read()
        except FileNotFoundError:
            return b""
        return data[: len(data) // FRAME_BYTES * FRAME_BYTES]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def sounds(ear: Loudspeaker | Recorder, first_frame: int) -> bool:
    """Whether anything but silence came from `first_frame` on."""
    return any(ear.data(first_frame).strip(b"\0"))


def loudest(ear: Loudspeaker | Recorder, first_frame: int) -> float:
    samples = array.array("f", ear.data(first_frame))
    return max(map(abs, (max(samples, default=0.0), min(samples, default=0.0))))


class Place:
    """One test bed for many faults: each leaves it whole. `policy`: more of its [default]."""

    def __init__(self, policy: str = "") -> None:
        self.bed = Testbed(
            card_nodes(rates=[RATE], formats=["s16_le"]),
            frontend_args=["--wait"],
            backend_args=["--wait", "--policy", "POLICY"],
            host_fragments=[_MICROPHONE],
        )
        file = self.bed.directory / "policy.toml"
        file.write_text(f"[default]\nmicrophone = true\n{policy}\n")
        self.bed.replace_backend_argument("POLICY", str(file))
        self.player: subprocess.Popen[Any] | None = None
        self.recorder: Recorder | None = None

    def __enter__(self) -> Place:
        self.bed.__enter__()
        self.file = write_noise(self.bed.directory / "noise.wav", noise(RATE, 2) * PLAYED_SEC, 2)
        self.bed.wait_for_node()
        self.bed.wait_for_node(SOURCE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop_applications()
        for pid in self.everybody():  # whoever a failed test has left stopped
            with suppress(OSError):
                os.kill(pid, signal.SIGCONT)
        self.bed.__exit__(kind, value, traceback)

    def renew(self) -> None:
        """Both halves are others: what has failed before makes no attempt later."""
        for role in ("frontend", "backend"):
            self.kill(role, signal.SIGTERM)
        for role in ("backend", "frontend"):
            self.start(role)
        eventually(self.bed.node, self.state)

    # -- applications

    def play(self) -> None:
        self.player = self.bed.guest.popen(
            ["pw-play", "--target", SINK, str(self.file)], stderr=subprocess.DEVNULL
        )

    def stop_player(self) -> None:
        if self.player is not None:
            self.player.kill()
            self.player.wait()
            self.player = None

    def start_applications(self) -> None:
        """They play and record when it returns."""
        for name in (SINK, SOURCE):
            eventually(lambda name=name: self.bed.node(name), self.state)
        self.play()
        self.recorder = Recorder(self.bed.guest, self.bed.directory / "recorded.wav")
        self.wait_sound()

    def stop_applications(self) -> None:
        self.stop_player()
        if self.recorder is not None:
            self.recorder.stop()
            self.recorder = None

    @property
    def applications_live(self) -> bool:
        both = (self.player, self.recorder and self.recorder.process)
        return all(process is None or process.poll() is None for process in both)

    # -- listening

    @property
    def ears(self) -> list[Loudspeaker | Recorder]:
        assert self.bed.loudspeaker is not None
        return [self.bed.loudspeaker, *([self.recorder] if self.recorder else [])]

    def wait_sound(self) -> None:
        for ear in self.ears:
            first = ear.frames
            eventually(lambda ear=ear, first=first: sounds(ear, first), self.state)

    def wait_silence(self) -> None:
        """At the loudspeaker: for a fifth of a second."""
        (ear, *_) = self.ears

        def silent() -> bool:
            first = ear.frames
            time.sleep(0.2)
            return not sounds(ear, first)

        eventually(silent, "there is still sound")

    def state(self) -> str:
        """For a failure: what both halves said last."""
        return "\n".join(
            f"{role}: {self.bed.log(role)[-1500:]}" for role in ("frontend", "backend")
        )

    def serial(self) -> Any:
        """Which object the sink is."""
        return (self.bed.node() or {}).get("object.serial")

    # -- who takes part

    @property
    def frontend(self) -> subprocess.Popen[Any]:
        assert self.bed.frontend is not None
        return self.bed.frontend

    @property
    def backend(self) -> subprocess.Popen[Any]:
        assert self.bed.backend is not None
        return self.bed.backend

    def half(self, role: str) -> subprocess.Popen[Any]:
        return self.frontend if role == "frontend" else self.backend

    def session(self, where: str) -> PipeWireSession:
        assert self.bed.host is not None
        return self.bed.guest if where == "guest" else self.bed.host

    def pids(self, where: str) -> list[int]:
        """All of a domain: its half, its daemons, its applications."""
        half = self.frontend if where == "guest" else self.backend
        pids = [half.pid, *self.session(where).pids().values()]
        if where == "guest":
            applications = (self.player, self.recorder and self.recorder.process)
            pids += [process.pid for process in applications if process]
        return pids

    def everybody(self) -> list[int]:
        return [*self.pids("guest"), *self.pids("host"), self.bed.hypervisor.pid]

    # -- what happens to them

    def kill(self, role: str, how: signal.Signals = signal.SIGKILL) -> None:
        self.half(role).send_signal(how)
        self.half(role).wait()

    def start(self, role: str) -> None:
        """Another one, ready when it returns."""
        ready = self.bed.log(role).count("is ready")
        if role == "frontend":
            self.bed.start_frontend()
        else:
            self.bed.start_backend()
        eventually(lambda: self.bed.log(role).count("is ready") > ready, self.state)

    def kill_daemons(self, where: str, *programs: str) -> None:
        pids = self.session(where).pids()
        for program in programs:
            os.kill(pids[program], signal.SIGKILL)
        time.sleep(0.1)

    def start_daemons(self, where: str, *programs: str) -> None:
        self.session(where).restart(*programs)

    @contextmanager
    def stopped(self, pids: list[int]) -> Iterator[None]:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def store_state(self, directory: str) -> str | None:
        assert self.bed.toolstack is not None
        return self.bed.toolstack.store.get(f"{directory}/state")
