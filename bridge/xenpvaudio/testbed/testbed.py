"""Both halves on this machine without Xen: two PipeWire sessions, the simulated hypervisor, one
guest with one card, and `backend` and `frontend` as processes of their own.

The demo, the benchmarks and the end-to-end tests stand on it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from xenpvaudio.errors import XenPvAudioError

from . import pwconf
from .graph_dump import named_node, parse_dump
from .machine import APPEAR_SEC, POLL_SEC, Machine, MachineOptions, end
from .machine import GUEST_DOMID as GUEST_DOMID
from .machine import GUEST_NAME as GUEST_NAME
from .session import PipeWireSession

SINK = "xenpv_sink.0.0.0"
SOURCE = "xenpv_source.0.0.1"


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


@dataclass
class Guest:
    """One more guest of a test bed: `session` is its PipeWire."""

    domid: int
    name: str
    session: PipeWireSession
    frontend: subprocess.Popen[Any] | None = None


class Testbed(Machine):
    """A guest with a PipeWire of its own, and `guests` with theirs."""

    __test__ = False  # pytest: not a test class

    def __init__(
        self,
        nodes: Mapping[str, str],
        *,
        guest_quantum_frames: int = 0,
        guest_min_quantum_frames: int = 32,
        guest_null_sink: bool = False,
        guest_session_manager: bool = True,
        guest_fragments: Sequence[str] = (),
        guest_pulse_fragments: Sequence[str] = (),
        **options: Unpack[MachineOptions],
    ) -> None:
        super().__init__(nodes, **options)
        self.guest = self._session(
            "guest",
            guest_quantum_frames or self.quantum_frames,
            [*([pwconf.null_sink()] if guest_null_sink else []), *guest_fragments],
            guest_pulse_fragments,
            guest_min_quantum_frames,
            guest_session_manager,
        )
        self.guests: list[Guest] = []

    # -- life

    def _start_guest(self) -> None:
        self.guest.start()

    def _stop_guest(self) -> None:
        self.guest.stop()
        for guest in self.guests:
            guest.session.stop()

    def _frontend_environ(self) -> Mapping[str, str]:
        return self.guest.env

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
        for guest in self.guests:
            end(guest.frontend)
        super().stop_halves()

    # -- looking

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
        deadline = time.monotonic() + APPEAR_SEC
        while time.monotonic() < deadline:
            self.check()
            if (found := self.node(name)) is not None:
                return found
            time.sleep(POLL_SEC)
        tail = " / ".join(self.log("frontend").strip().splitlines()[-2:])
        raise XenPvAudioError(f"{name} did not appear within {APPEAR_SEC:.0f} s: {tail}")


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
