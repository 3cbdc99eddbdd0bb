"""Where the changes are made: a guest with our card and, beside it, a device of PipeWire itself.

The host plays into a recorded loudspeaker, and what that plays comes back at its microphone. The
other device is a null sink of the guest's own daemon, whose monitor is its microphone. Both are
used in the same way by the same program, in one graph, at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from interop.changes.silence import write_silence
from interop.sound import MICROPHONE, eventually
from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.graph_dump import named_node
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes, graph

RATE = 48000
OTHER_RATE = 44100
QUANTUM_FRAMES, LEAST_FRAMES, MOST_FRAMES = 1024, 64, 2048
# A long one: what the host's own graph drops on a busy machine is not what is looked for.
HOST_QUANTUM_FRAMES = 1024
OWN = "pipewires_own"

# Later fragments override the test bed's, which allow one rate and nothing above the quantum.
_CLOCK = f"""
context.properties = {{
  default.clock.allowed-rates = [ {RATE} {OTHER_RATE} ]
  default.clock.max-quantum = {MOST_FRAMES}
}}
"""


@dataclass(frozen=True)
class Device:
    """A sink, and what is recorded: a source, or the sink's monitor."""

    name: str
    sink: str
    source: str
    monitor: bool
    source_port: str

    @property
    def pulse_source(self) -> str:
        return f"{self.source}.monitor" if self.monitor else self.source

    @property
    def capture_env(self) -> dict[str, str]:
        """For programs whose only streams are recordings: of this device."""
        return {"PIPEWIRE_PROPS": "{ stream.capture.sink = true }"} if self.monitor else {}

    def out(self, channel: str) -> str:
        """The port that sound comes out of."""
        return f"{self.source}:{self.source_port}_{channel}"

    def into(self, channel: str) -> str:
        return f"{self.sink}:playback_{channel}"


OURS = Device("ours", SINK, SOURCE, False, "capture")
THEIRS = Device("PipeWire's", OWN, OWN, True, "monitor")
DEVICES = (OURS, THEIRS)


@dataclass
class Place:
    bed: Testbed
    folder: Path
    silence: Mapping[int, Path] = field(default_factory=dict)
    """WAV files by rate, for clients that may be heard and must not be."""

    @property
    def guest(self) -> PipeWireSession:
        return self.bed.guest

    def xruns(self) -> int:
        """Of our nodes, whose figures follow once a second."""
        dump = graph(self.guest)
        nodes = (named_node(dump, name) for name in (SINK, SOURCE))
        return sum(int(node["info"]["props"].get("xenpv.xruns", 0)) for node in nodes if node)


def link(session: PipeWireSession, out: str, into: str) -> None:
    def made() -> bool:
        done = session.run(["pw-link", out, into], check=False, capture_output=True)
        return done.returncode == 0 or b"File exists" in done.stderr

    eventually(made, f"{out} and {into} cannot be linked")


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    with Testbed(
        card_nodes(rates=[RATE], formats=["s16_le"]),
        rate=RATE,
        quantum_frames=HOST_QUANTUM_FRAMES,
        guest_quantum_frames=QUANTUM_FRAMES,
        guest_min_quantum_frames=LEAST_FRAMES,
        guest_fragments=[pwconf.null_sink(OWN, description="PipeWire's own"), _CLOCK],
        host_fragments=[MICROPHONE],
    ) as bed:
        for device in DEVICES:
            bed.wait_for_node(device.sink)
            bed.wait_for_node(device.source)
        assert bed.host is not None
        for channel in ("FL", "FR"):
            out = f"recording-loudspeaker:monitor_{channel}"
            link(bed.host, out, f"microphone:input_{channel}")
        yield Place(bed, folder, write_silence(folder))
        bed.check()


def now_nsec() -> int:
    return time.monotonic_ns()
