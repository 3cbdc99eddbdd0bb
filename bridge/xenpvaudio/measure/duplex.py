"""What the measuring commands share: where they measure, and the duplex probe as a process.

A place is an environment in which PipeWire answers: the guest session of a Testbed, or the session
that this command was started in; or that of an AlsaBed. Nothing here needs numpy.
"""

from __future__ import annotations

import array
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xenpvaudio.errors import ConfigError, UnavailableError, XenPvAudioError
from xenpvaudio.testbed.graph_dump import named_node, of_kind, parse_dump
from xenpvaudio.testbed.keeper import KEEPER, guard
from xenpvaudio.testbed.noise_player import PEAK

SIMULATED = "loopback,delay=40ms,gain=-6dB,quantum=256"
"""The host's device if the command line names none."""
# Of 32768. A room has noise of its own; -30 dBFS is still quiet.
ROOM_PEAK = 1024
# Recorded longer than played: what is on its way must come back.
TAIL_SEC = 1.0


@dataclass(frozen=True, slots=True)
class DuplexRun:
    """Marks as in probe.Measurement; `captured` has one channel, the sum of all. peak: of the
    noise, which differs with it."""

    play_marks: list[list[int]]
    capture_marks: list[list[int]]
    captured: array.array[float]
    xruns: int | None
    peak: int


def _dump(env: Mapping[str, str]) -> list[dict[str, Any]]:
    """What is in the graph that `env` leads to."""
    try:
        done = subprocess.run(
            ["pw-dump"], env=dict(env), capture_output=True, text=True, check=False, timeout=10
        )
        return parse_dump(done.stdout)
    except FileNotFoundError:
        raise UnavailableError("pw-dump is missing", hint="apt install pipewire-bin") from None
    except (ValueError, subprocess.TimeoutExpired):
        raise UnavailableError(
            "no PipeWire daemon answers here", hint="start pipewire, or add --simulate"
        ) from None


def graph_nodes(env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The properties of all nodes of the graph that `env` leads to, by node.name."""
    properties = [dict(node["info"]["props"]) for node in of_kind(_dump(env), "Node")]
    return {str(p["node.name"]): p for p in properties if "node.name" in p}


def published_delay_sec(env: Mapping[str, str], name: str) -> float | None:
    """What a device tells in its ports' parameter Latency, beside whole quanta; None: nothing.

    Of its ports, not of its node: PipeWire 0.3.65 shows it at both, 1.4 at the ports only. A sink's
    monitor and whatever is linked pass on latencies of their own, in the other direction.
    """
    objects = _dump(env)
    node = named_node(objects, name)
    if node is None:
        return None
    for port in of_kind(objects, "Port"):
        info = port["info"]
        if info["props"].get("node.id") != node["id"] or info["props"].get("port.monitor"):
            continue
        for latency in (info.get("params") or {}).get("Latency") or []:
            if str(latency.get("direction")).lower() == info["direction"] and latency["maxNs"]:
                return float(latency["minNs"] + latency["maxNs"]) / 2e9
    return None


def choose_node(nodes: Mapping[str, Mapping[str, Any]], name: str, media_class: str) -> str:
    """`name` if it is there, or the first Xen PV Audio node of this class; ConfigError if none."""
    if name:
        if name not in nodes:
            raise ConfigError(f'there is no node "{name}"', hint="pw-cli ls Node lists them")
        return name
    for candidate, properties in sorted(nodes.items()):
        if properties.get("media.class") == media_class and "xenpv.device" in properties:
            return candidate
    raise ConfigError(
        f"no {media_class} of Xen PV Audio is here",
        hint="name another by --sink and --source, or add --simulate",
    )


def ask(what: str) -> bool:
    """Whether noise may be made. ConfigError if there is nobody to ask."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{what}, and there is nobody to ask", hint="add --yes")
    print(f"{what}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def run_duplex(
    env: Mapping[str, str],
    *,
    sink: str,
    source: str,
    rate: int,
    quantum_frames: int,
    seconds: float,
    peak: int = PEAK,
    channels: int = 2,
    separate: bool = False,
) -> DuplexRun:
    """Plays `seconds` of probe.noise to `sink`, captures `source`: a process of its own.

    Both streams are in one graph with one driver, as those of a program with one node for both;
    separate: each follows its device, as those of a program with two unrelated streams.
    """
    joined = {} if separate else {"PIPEWIRE_PROPS": "{ node.group = xen-pv-audio-probe }"}
    before = _xruns(graph_nodes(env), sink, source)
    found, captured = _probe(
        {**env, **joined},
        *("xenpvaudio.testbed.noise_player", "--target", sink, "--source", source),
        *("--quantum", str(quantum_frames)),
        rate=rate,
        seconds=seconds,
        peak=peak,
        channels=channels,
    )
    after = _xruns(graph_nodes(env), sink, source)
    xruns = None if before is None or after is None else after - before
    return DuplexRun(found["marks"], found["capture_marks"], captured, xruns, peak)


def run_alsa_duplex(
    env: Mapping[str, str], *, rate: int, period_frames: int, seconds: float, peak: int = PEAK
) -> DuplexRun:
    """The same by a program that plays to the ALSA device `xenpv` and captures from it."""
    module = "xenpvaudio.testbed.alsa.player"
    words = (module, "--period", str(period_frames))
    found, captured = _probe(env, *words, rate=rate, seconds=seconds, peak=peak, channels=2)
    xruns = sum(found["xruns"])
    return DuplexRun(found["marks"], found["capture_marks"], captured, xruns, peak)


def _probe(
    env: Mapping[str, str], *words: str, rate: int, seconds: float, peak: int, channels: int
) -> tuple[dict[str, Any], array.array[float]]:
    """What that module says, and one channel of what it captured, the sum of all."""
    frames = round(seconds * rate)
    with tempfile.TemporaryDirectory(prefix="xpa-duplex-") as directory:
        file = Path(directory) / "captured.f32"
        KEEPER.keep(Path(directory))
        command = [*guard(), sys.executable, "-m", *words, "--frames", str(frames)]
        command += ["--rate", str(rate), "--channels", str(channels), "--peak", str(peak)]
        command += ["--capture-frames", str(frames + round(TAIL_SEC * rate))]
        command += ["--capture-file", str(file)]
        done = subprocess.run(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise XenPvAudioError(f"the probe failed: {lines[-1].removeprefix('xen-pv-audio: ')}")
        samples: array.array[float] = array.array("f")
        samples.frombytes(file.read_bytes())
    mixed = array.array("f", map(sum, zip(*[iter(samples)] * channels, strict=True)))
    return json.loads(done.stdout), mixed


def _xruns(nodes: Mapping[str, Mapping[str, Any]], *names: str) -> int | None:
    """Of nodes of ours; None: others do not say."""
    ours = [nodes[name] for name in names if "xenpv.device" in nodes.get(name, {})]
    # a suspended one has none yet
    return sum(int(node.get("xenpv.xruns", 0)) for node in ours) if ours else None
