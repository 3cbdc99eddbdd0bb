"""A simulated Xen with one guest that has one card, `backend` and `frontend` as processes, and the
host's end of the sound. What the guest's programs play through is each kind of guest's own:
testbed.Testbed has PipeWire, alsa.bed.AlsaBed has none.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict

from xenpvaudio.errors import UnavailableError
from xenpvaudio.xen.connect import SIM_VARIABLE
from xenpvaudio.xen.sim.process import HypervisorProcess, start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

from . import pwconf
from .keeper import KEEPER, guard
from .loudspeaker import Loudspeaker
from .session import PipeWireSession

GUEST_DOMID = 1
GUEST_NAME = "demo-guest"
APPEAR_SEC = 15.0
POLL_SEC = 0.02
_KILL_SEC = 8.0


def end(process: subprocess.Popen[Any] | None) -> None:
    """SIGTERM, and time to close the devices."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_KILL_SEC)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class MachineOptions(TypedDict, total=False):
    """What a kind of guest passes on."""

    rate: int
    channels: int
    quantum_frames: int
    host_environ: Mapping[str, str] | None
    host_fragments: Sequence[str]
    host_wireplumber_files: Mapping[str, str] | None
    backend_args: Sequence[str]
    frontend_args: Sequence[str]


class Machine:
    """A context manager. `host_environ`: the environment in which the backend finds what it plays
    through; None: a private session whose loudspeaker is recorded."""

    def __init__(
        self,
        nodes: Mapping[str, str],
        *,
        rate: int = 48000,
        channels: int = 2,
        quantum_frames: int = 1024,
        host_environ: Mapping[str, str] | None = None,
        host_fragments: Sequence[str] = (),
        host_wireplumber_files: Mapping[str, str] | None = None,
        backend_args: Sequence[str] = ("--allow-microphone",),
        frontend_args: Sequence[str] = (),
    ) -> None:
        self.nodes = nodes
        self.rate = rate
        self.channels = channels
        self.quantum_frames = quantum_frames
        self.directory = KEEPER.keep(Path(tempfile.mkdtemp(prefix="xpa-bed-")))
        self._backend_args = list(backend_args)
        self._frontend_args = list(frontend_args)
        self._host_environ = host_environ
        self.loudspeaker: Loudspeaker | None = None
        self.host: PipeWireSession | None = None
        if host_environ is None:
            fifo = self.directory / "loudspeaker"
            self.loudspeaker = Loudspeaker(fifo, 4 * channels, rate)
            speaker = pwconf.pipe_sink(fifo, rate=rate, channels=channels)
            self.host = self._session(
                "host",
                quantum_frames,
                [*host_fragments, speaker],
                wireplumber_files=host_wireplumber_files,
            )
        self._hypervisor: HypervisorProcess | None = None
        self.toolstack: Toolstack | None = None
        self.backend: subprocess.Popen[Any] | None = None
        self.frontend: subprocess.Popen[Any] | None = None

    def _session(
        self,
        name: str,
        quantum: int,
        fragments: Sequence[str],
        pulse_fragments: Sequence[str] = (),
        min_quantum: int = 32,
        session_manager: bool = True,
        wireplumber_files: Mapping[str, str] | None = None,
    ) -> PipeWireSession:
        return PipeWireSession(
            self.directory / name,
            name=name,
            rate=self.rate,
            quantum=quantum,
            min_quantum=min(min_quantum, quantum),
            max_quantum=quantum,
            fragments=fragments,
            pulse_fragments=pulse_fragments,
            wireplumber=session_manager,
            wireplumber_files=wireplumber_files,
        )

    # -- the kind of guest

    def _start_guest(self) -> None:
        """What its frontend finds there."""

    def _stop_guest(self) -> None:
        """What _start_guest() has started."""

    def _frontend_environ(self) -> Mapping[str, str]:
        raise NotImplementedError

    # -- life

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        if self.host is not None:
            self.host.start()
        self._start_guest()
        sim = self.directory / "xen"
        self._hypervisor = start_hypervisor(sim)
        self.toolstack = Toolstack(str(sim))
        self.toolstack.create_domain(GUEST_DOMID, GUEST_NAME)
        self.start_backend()
        self.toolstack.attach_vsnd(GUEST_DOMID, 0, self.nodes)
        self.start_frontend()

    def _popen(
        self, domid: int, env: Mapping[str, str], role: str, args: Sequence[str], name: str = ""
    ) -> subprocess.Popen[Any]:
        # logs are appended: a restarted half goes on in the same file
        with (self.directory / f"{name or role}.log").open("ab") as log:
            return subprocess.Popen(
                [*guard(), sys.executable, "-m", "xenpvaudio", role, *args],
                env={**env, **self.machine(domid)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for whoever owns the test bed
            )

    def machine(self, domid: int) -> dict[str, str]:
        """A process's place on the simulated machine, in its environment."""
        return {SIM_VARIABLE: f"{self.directory / 'xen'}:{domid}"}

    def replace_backend_argument(self, word: str, text: str) -> None:
        """Before the start: for arguments that name something in `directory`."""
        self._backend_args = [text if arg == word else arg for arg in self._backend_args]

    def start_backend(self) -> None:
        env = self.host.env if self.host is not None else dict(self._host_environ or {})
        self.backend = self._popen(0, env, "backend", self._backend_args)

    def start_frontend(self) -> None:
        environ = self._frontend_environ()
        self.frontend = self._popen(GUEST_DOMID, environ, "frontend", self._frontend_args)

    def stop_halves(self) -> None:
        """Ends frontend and backend in order, both closing their devices."""
        end(self.frontend)
        end(self.backend)

    def stop(self) -> None:
        self.stop_halves()
        if self.toolstack is not None:
            self.toolstack.close()
        if self._hypervisor is not None:
            self._hypervisor.stop()
        self._stop_guest()
        if self.host is not None:
            self.host.stop()
        if self.loudspeaker is not None:
            self.loudspeaker.stop()
        KEEPER.remove(self.directory)

    # -- looking

    def log(self, role: str) -> str:
        """What that half has said so far."""
        path = self.directory / f"{role}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def hypervisor(self) -> HypervisorProcess:
        assert self._hypervisor is not None
        return self._hypervisor

    def check(self) -> None:
        """UnavailableError with the last line of whoever ended."""
        for role, process in (("backend", self.backend), ("frontend", self.frontend)):
            if process is not None and process.poll() is not None:
                lines = self.log(role).strip().splitlines() or ["(no message)"]
                raise UnavailableError(f"the {role} ended: {lines[-1]}")
