"""Both halves on this machine without Xen: two PipeWire sessions, the simulated hypervisor, one
guest with one card, and `backend` and `frontend` as processes of their own.

The demo, the benchmarks and the end-to-end tests stand on it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from xenpvaudio.errors import UnavailableError, XenPvAudioError
from xenpvaudio.xen.connect import SIM_VARIABLE
from xenpvaudio.xen.sim.process import HypervisorProcess, start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

from . import pwconf
from .graph_dump import named_node, parse_dump
from .keeper import KEEPER, guard
from .loudspeaker import Loudspeaker
from .session import PipeWireSession

GUEST_DOMID = 1
_KILL_SEC = 8.0
GUEST_NAME = "demo-guest"
SINK = "xenpv_sink.0.0.0"
SOURCE = "xenpv_source.0.0.1"
_APPEAR_SEC = 15.0
_POLL_SEC = 0.02


def card_nodes(
    *,
    rates: Sequence[int] = (48000,),
    formats: Sequence[str] = ("s16_le", "s32_le", "float_le"),
    channels_min: int = 1,
    channels_max: int = 2,
    buffer_bytes: int = 1 << 18,
    capture: bool = True,
) -> dict[str, str]:
    """A vsnd card with a playback and a capture stream, as xl would write it."""
    nodes = {
        "short-name": "Xen PV Audio",
        "long-name": "Xen PV Audio",
        "sample-rates": ",".join(map(str, rates)),
        "sample-formats": ",".join(formats),
        "channels-min": str(channels_min),
        "channels-max": str(channels_max),
        "buffer-size": str(buffer_bytes),
        "0/name": "Demo",
        "0/0/type": "p",
        "0/0/unique-id": "playback",
    }
    if capture:
        nodes |= {"0/1/type": "c", "0/1/unique-id": "capture"}
    return nodes


def graph(session: PipeWireSession) -> list[dict[str, Any]]:
    """What is in a session's graph, see graph_dump; empty while the daemon does not answer."""
    done = session.run(["pw-dump"], capture_output=True, text=True, check=False)
    try:
        return parse_dump(done.stdout)
    except ValueError:
        return []


def find_node(session: PipeWireSession, name: str) -> dict[str, Any] | None:
    """The properties of the node with this node.name in a session's graph."""
    node = named_node(graph(session), name)
    return None if node is None else dict(node["info"]["props"])


def _end(process: subprocess.Popen[Any] | None) -> None:
    """SIGTERM, and time to close the devices."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_KILL_SEC)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class Guest:
    """One more guest of a test bed: `session` is its PipeWire."""

    domid: int
    name: str
    session: PipeWireSession
    frontend: subprocess.Popen[Any] | None = None


class Testbed:
    """`host_environ`: the environment of a running session to use as the host's; None: a private
    one whose loudspeaker is recorded."""

    __test__ = False  # pytest: not a test class

    def __init__(
        self,
        nodes: Mapping[str, str],
        *,
        rate: int = 48000,
        channels: int = 2,
        quantum_frames: int = 1024,
        guest_quantum_frames: int = 0,
        guest_min_quantum_frames: int = 32,
        guest_null_sink: bool = False,
        guest_session_manager: bool = True,
        guest_fragments: Sequence[str] = (),
        guest_pulse_fragments: Sequence[str] = (),
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
        fragments = list(host_fragments)
        if host_environ is None:
            fifo = self.directory / "loudspeaker"
            self.loudspeaker = Loudspeaker(fifo, 4 * channels, rate)
            fragments.append(pwconf.pipe_sink(fifo, rate=rate, channels=channels))
            self.host = self._session(
                "host", quantum_frames, fragments, wireplumber_files=host_wireplumber_files
            )
        self.guest = self._session(
            "guest",
            guest_quantum_frames or quantum_frames,
            [*([pwconf.null_sink()] if guest_null_sink else []), *guest_fragments],
            guest_pulse_fragments,
            guest_min_quantum_frames,
            guest_session_manager,
        )
        self._hypervisor: HypervisorProcess | None = None
        self.toolstack: Toolstack | None = None
        self.backend: subprocess.Popen[Any] | None = None
        self.frontend: subprocess.Popen[Any] | None = None
        self.guests: list[Guest] = []

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

    # -- life

    def __enter__(self) -> Testbed:
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> Testbed:
        if self.host is not None:
            self.host.start()
        self.guest.start()
        sim = self.directory / "xen"
        self._hypervisor = start_hypervisor(sim)
        self.toolstack = Toolstack(str(sim))
        self.toolstack.create_domain(GUEST_DOMID, GUEST_NAME)
        self.start_backend()
        self.toolstack.attach_vsnd(GUEST_DOMID, 0, self.nodes)
        self.start_frontend()
        return self

    def _popen(
        self, domid: int, env: Mapping[str, str], role: str, args: Sequence[str], name: str = ""
    ) -> Any:
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

    def environ(self, domid: int) -> dict[str, str]:
        """For a command that a user of that domain gives: its PipeWire, and its place on the
        simulated machine. Of the host, the first guest, or one that was added."""
        sessions = {guest.domid: guest.session for guest in self.guests}
        sessions[GUEST_DOMID] = self.guest
        if domid == 0 and self.host is None:
            return {**(self._host_environ or {}), **self.machine(domid)}
        if domid == 0 and self.host is not None:
            sessions[0] = self.host
        return {**sessions[domid].env, **self.machine(domid)}

    def replace_backend_argument(self, word: str, text: str) -> None:
        """Before the start: for arguments that name something in `directory`."""
        self._backend_args = [text if arg == word else arg for arg in self._backend_args]

    def start_backend(self) -> None:
        env = self.host.env if self.host is not None else dict(self._host_environ or {})
        self.backend = self._popen(0, env, "backend", self._backend_args)

    def start_frontend(self) -> None:
        self.frontend = self._popen(GUEST_DOMID, self.guest.env, "frontend", self._frontend_args)

    def add_guest(self, domid: int, name: str, nodes: Mapping[str, str]) -> Guest:
        """One more guest with a card and a frontend, which logs as `frontend-DOMID`."""
        assert self.toolstack is not None
        guest = Guest(domid, name, self._session(name, self.quantum_frames, []))
        self.guests.append(guest)
        guest.session.start()
        self.toolstack.create_domain(domid, name)
        self.toolstack.attach_vsnd(domid, 0, nodes)
        guest.frontend = self._popen(
            domid, guest.session.env, "frontend", self._frontend_args, f"frontend-{domid}"
        )
        return guest

    def stop_halves(self) -> None:
        """Ends frontends and backend in order, all closing their devices."""
        for guest in self.guests:
            _end(guest.frontend)
        _end(self.frontend)
        _end(self.backend)

    def stop(self) -> None:
        self.stop_halves()
        if self.toolstack is not None:
            self.toolstack.close()
        if self._hypervisor is not None:
            self._hypervisor.stop()
        self.guest.stop()
        for guest in self.guests:
            guest.session.stop()
        if self.host is not None:
            self.host.stop()
        if self.loudspeaker is not None:
            self.loudspeaker.stop()
        KEEPER.remove(self.directory)

    def log(self, role: str) -> str:
        """What that half has said so far."""
        path = self.directory / f"{role}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # -- looking

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

    def node(self, name: str = SINK) -> dict[str, Any] | None:
        """The properties of a node of the guest's graph, by node.name; None until the session
        manager has given it ports, since nothing could be linked to it before."""
        node = named_node(graph(self.guest), name)
        if node is None:
            return None
        ports = node["info"].get("n-input-ports", 0) + node["info"].get("n-output-ports", 0)
        return dict(node["info"]["props"]) if ports else None

    def wait_for_node(self, name: str = SINK) -> dict[str, Any]:
        """The node as soon as it is there."""
        deadline = time.monotonic() + _APPEAR_SEC
        while time.monotonic() < deadline:
            self.check()
            if (found := self.node(name)) is not None:
                return found
            time.sleep(_POLL_SEC)
        tail = " / ".join(self.log("frontend").strip().splitlines()[-2:])
        raise XenPvAudioError(f"{name} did not appear within {_APPEAR_SEC:.0f} s: {tail}")


def running_session() -> dict[str, str] | None:
    """The environment, if a PipeWire daemon answers in it."""
    directory = os.environ.get("PIPEWIRE_RUNTIME_DIR") or os.environ.get("XDG_RUNTIME_DIR")
    if not directory or not (Path(directory) / "pipewire-0").exists():
        return None
    try:
        done = subprocess.run(["pw-cli", "info", "0"], capture_output=True, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return dict(os.environ) if done.returncode == 0 else None
