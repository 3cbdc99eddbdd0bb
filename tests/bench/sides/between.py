"""PipeWire's ways from one machine to another, here two sessions of one: the other end plays to a
null sink. What both ends' daemons and servers need is counted, as with us.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.session import PipeWireSession

from .side import SINK, Side, module, session

TUNNEL_MSEC = 200
RTP_MSEC = 100


def between(name: str, guest: PipeWireSession, host: PipeWireSession, *programs: str) -> Side:
    """`programs`: of the host's, beside its daemon."""
    daemons = {"daemon": guest.pids()["pipewire"], "host's daemon": host.pids()["pipewire"]}
    servers = {f"host's {program}": host.pids()[program] for program in programs}
    beside = {"session manager": guest.pids()["wireplumber"]}
    return Side(name, guest, SINK, daemons | servers, beside)


@contextmanager
def pulse_tunnel(folder: Path, quantum: int) -> Iterator[Side]:
    """Over a Unix socket, with the delay that it chooses by itself."""
    with session(folder, "pulse-host", quantum, pwconf.null_sink(), pulse=True) as host:
        args = f"""tunnel.mode = sink pulse.server.address = "{host.env["PULSE_SERVER"]}"
          pulse.latency = {TUNNEL_MSEC} audio.rate = 48000 audio.position = [ FL FR ]
          stream.props = {{ node.name = {SINK} }}"""
        with session(folder, "pulse-guest", quantum, module("pulse-tunnel", args)) as guest:
            yield between("pulse-tunnel", guest, host, "pipewire-pulse")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def rtp(folder: Path, quantum: int) -> Iterator[Side]:
    """module-rtp-sink to module-rtp-source over 127.0.0.1; they find each other by an announcement
    (SAP), which goes the same way."""
    announced = f"sap.ip = 127.0.0.1 sap.port = {free_port()} local.ifname = lo"
    source = module("rtp-source", f"{announced} sess.latency.msec = {RTP_MSEC}")
    sink = module(
        "rtp-sink",
        f"""{announced} source.ip = 127.0.0.1 destination.ip = 127.0.0.1
          destination.port = {free_port()} net.loop = true audio.position = [ FL FR ]
          stream.props = {{ node.name = {SINK} media.class = Audio/Sink }}""",
    )
    with (
        session(folder, "rtp-host", quantum, pwconf.null_sink(), source) as host,
        session(folder, "rtp-guest", quantum, sink) as guest,
    ):
        yield between("RTP pair", guest, host)
