"""`xen-pv-audio latency`: the delay that applications are told, against the one that sound has.

One client plays a noise that never repeats and captures it again: through the loopback of a
simulated set-up, whose acoustic path is known to the frame, or through a real room. Where each
captured frame was in the noise says how long it took; the times that PipeWire told the client for
the same frames say how long it should have taken. In a simulated guest without PipeWire the client
is an ALSA program, and what it was told is snd_pcm_delay().
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xenpvaudio.config import OutputSpec, parse_output
from xenpvaudio.errors import ConfigError, XenPvAudioError
from xenpvaudio.testbed.alsa.bed import AlsaBed
from xenpvaudio.testbed.noise_player import PEAK, noise
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

from .duplex import (
    ROOM_PEAK,
    DuplexRun,
    ask,
    choose_node,
    graph_nodes,
    run_alsa_duplex,
    run_duplex,
)
from .extras import require, require_picture

if TYPE_CHECKING:
    from .timing import Series, Timing

RATE = 48000


@dataclass(frozen=True, slots=True)
class LatencyOptions:
    """What the command line says; `simulate`: the host's device, "" for the running system."""

    json: bool = False
    plot: Path | None = None
    yes: bool = False
    simulate: str = ""
    guest: str = "pipewire"  # or "alsa", simulated
    seconds: float = 10.0
    quantum_frames: int = 1024
    sink: str = ""
    source: str = ""
    separate: bool = False
    settle_sec: float = 2.0


def run_latency(options: LatencyOptions) -> int:
    """Exit status: 0 what is told is true (in a room: constant and possible), 1 it is not."""
    require("numpy")
    require_picture(options.plot)
    if options.seconds < options.settle_sec + 1:
        raise ConfigError(f"{options.seconds:g} s are too short", hint="measure for 5 s or more")
    if options.guest == "alsa":
        return _run_alsa(options)
    if options.simulate:
        with simulated(options.simulate, options.quantum_frames) as (spec, bed):
            return _report(options, spec, _run(options, bed.guest.env, SINK, SOURCE, PEAK))
    nodes = graph_nodes(os.environ)
    sink = choose_node(nodes, options.sink, "Audio/Sink")
    source = choose_node(nodes, options.source, "Audio/Source")
    seconds = f"{options.seconds:g} s"
    if not options.yes and not ask(f"This plays {seconds} of quiet noise to {sink}"):
        print("xen-pv-audio: nothing was played", file=sys.stderr)
        return 1
    return _report(options, None, _run(options, os.environ, sink, source, ROOM_PEAK))


def _run_alsa(options: LatencyOptions) -> int:
    if not options.simulate:
        raise ConfigError("--guest is what is simulated", hint="add --simulate")
    if options.separate:
        raise ConfigError("--separate is about graphs, and --guest alsa has none")
    with simulated_alsa(options.simulate, options.quantum_frames) as (spec, bed):
        _say(options, "the ALSA device xenpv")
        run = run_alsa_duplex(
            bed.env, rate=RATE, period_frames=options.quantum_frames, seconds=options.seconds
        )
        return _report(options, spec, run)


@contextmanager
def simulated_alsa(output: str, quantum_frames: int) -> Iterator[tuple[OutputSpec, AlsaBed]]:
    """The same with a guest without PipeWire."""
    spec = _loopback(output)
    with AlsaBed(
        card_nodes(rates=[RATE]),
        rate=RATE,
        quantum_frames=quantum_frames,
        host_environ=os.environ,
        backend_args=["--allow-microphone", "--output", output],
    ) as bed:
        yield spec, bed


def _loopback(output: str) -> OutputSpec:
    spec = parse_output(output)
    if spec.kind != "loopback" or spec.gain == 0:
        raise ConfigError(
            f'nothing comes back from "{output}"', hint="use loopback,delay=40ms,gain=-6dB"
        )
    return spec


@contextmanager
def simulated(output: str, quantum_frames: int) -> Iterator[tuple[OutputSpec, Testbed]]:
    """A guest whose host plays into a virtual loopback, up and running."""
    spec = _loopback(output)
    with Testbed(
        card_nodes(rates=[RATE]),
        rate=RATE,
        quantum_frames=quantum_frames,
        host_environ=os.environ,  # the device needs no PipeWire on the host
        backend_args=["--allow-microphone", "--output", output],
    ) as bed:
        bed.wait_for_node(SINK)
        bed.wait_for_node(SOURCE)
        yield spec, bed


def _say(options: LatencyOptions, device: str) -> None:
    if not options.json:
        print(f"playing {options.seconds:g} s of noise to {device} ...", file=sys.stderr)


def _run(
    options: LatencyOptions, env: Mapping[str, str], sink: str, source: str, peak: int
) -> DuplexRun:
    _say(options, sink)
    return run_duplex(
        env,
        sink=sink,
        source=source,
        rate=RATE,
        quantum_frames=options.quantum_frames,
        seconds=options.seconds,
        peak=peak,
        separate=options.separate,
    )


def _report(options: LatencyOptions, spec: OutputSpec | None, run: DuplexRun) -> int:
    import numpy as np

    from .correlate import DelayTrack
    from .timing import Truth, analyse

    sent = np.array(noise(round(options.seconds * RATE), 1, peak=run.peak), dtype=np.float64)
    track = DelayTrack(sent, np.array(run.captured, dtype=np.float64))
    truth = None if spec is None else Truth(round(spec.delay_sec * RATE), spec.ppm)
    found = analyse(
        run.play_marks,
        run.capture_marks,
        track,
        RATE,
        truth=truth,
        settle_sec=options.settle_sec,
    )
    if found is None:
        raise XenPvAudioError(
            "the noise did not come back", hint="turn up loudspeaker and microphone, unmute both"
        )
    timing, series = found
    figures = _figures(options, timing, run)
    print(json.dumps(figures) if options.json else _table(figures, timing), flush=True)
    if options.plot is not None:
        _plot(options, timing, series)
    return 1 if timing.failures else 0


def _figures(options: LatencyOptions, timing: Timing, run: DuplexRun) -> dict[str, Any]:
    figures = asdict(timing)
    where = {
        "passed": not timing.failures,
        "simulated": options.simulate or None,
        "guest": options.guest,
        "rate": RATE,
        "quantum_frames": options.quantum_frames,
        "separate": options.separate,
        "seconds": options.seconds,
        "xruns": run.xruns,
    }
    return {**where, **figures}


def _plot(options: LatencyOptions, timing: Timing, series: Series) -> None:
    from .plots import plot_latency

    assert options.plot is not None
    where = options.simulate or "this system"
    kind = "" if options.guest == "pipewire" else f", {options.guest} guest"
    title = f"xen-pv-audio latency: {where}{kind}, quantum {options.quantum_frames}"
    plot_latency(options.plot, title, timing, series)


def _table(f: Mapping[str, Any], t: Timing) -> str:
    rows = [("round trip, true", f"{t.true_ms:.3f} ms")]
    if t.reported_ms is not None:
        rows += [
            ("round trip, told", f"{t.reported_ms:.3f} ms"),
            ("error, median", f"{t.error_median_frames:+.3f} frames"),
            ("error, 99 % within", f"{t.error_p99_frames:.3f} frames"),
            ("error, largest", f"{t.error_max_frames:.3f} frames"),
        ]
    else:
        rows += [
            ("of it told as delay", f"{t.true_ms - t.path_ms:.3f} ms"),
            ("left for the room", f"{t.path_ms:.3f} ms (sound goes 0.34 m a ms)"),
        ]
    rows += [
        ("spread, 1 to 99 %", f"{t.spread_frames:.3f} frames"),
        ("drift of the delay", f"{t.drift_ppm:+.3f} ppm"),
        ("clock as told", f"{t.play_clock_ppm:+.2f} playback, {t.capture_clock_ppm:+.2f} capture"),
    ]
    if t.clock_error_ppm is not None:
        rows.append(("clock error", f"{t.clock_error_ppm:+.2f} ppm"))
    rows += [
        ("locked after", "never" if t.lock_sec is None else f"{t.lock_sec:.2f} s"),
        ("noise found again", f"{100 * t.found_share:.1f} %"),
        ("skips and repeats", _steps(t)),
        ("xruns", "not known" if f["xruns"] is None else str(f["xruns"])),
        ("result", "PASS" if f["passed"] else "FAIL: " + "; ".join(t.failures)),
    ]
    return "\n".join(f"  {name:<20} {text}" for name, text in rows)


def _steps(t: Timing) -> str:
    if not t.steps:
        return "none"
    shown = ", ".join(f"{step['frames']:+.0f}" for step in t.steps[:6])
    return f"{len(t.steps)} ({shown}{', ...' if len(t.steps) > 6 else ''} frames)"
