"""`xen-pv-audio aec-check`: is echo cancellation through the card as good as on a local loopback?

The same speech goes through the same canceller (PipeWire's, of WebRTC) with the card's sink and
source, and with a null sink and its monitor in the same session, turn by turn. Simulated, the
host's loopback is the air between loudspeaker and microphone, and a synthetic room follows it; on
a running system the air and the room are real, so that only the comparison's local half is known.
Single runs scatter by 1.5 dB: medians are compared.

This canceller cannot tell a delay from the room: the later the echo, the less of the room is left
within its filter. A card behind sndif is later than a local loopback, but its delay does not change
and applications are told it; so the canceller is told, too, by its own setting buffer.play_delay.
What it does without is shown beside it. Where the air's delay is known, what is told must be true.
"""

from __future__ import annotations

import array
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xenpvaudio.config import OutputSpec
from xenpvaudio.errors import ConfigError, UnavailableError, XenPvAudioError
from xenpvaudio.testbed.keeper import KEEPER
from xenpvaudio.testbed.testbed import SINK, SOURCE

from .duplex import ask, choose_node, graph_nodes, published_delay_sec
from .extras import require, require_picture
from .latency import RATE, simulated

if TYPE_CHECKING:
    from .aec_analysis import Curves, Figures
    from .aec_graph import EchoPath

    Tracks = dict[str, array.array[float]]

QUANTUM_FRAMES = 1024
_TOOLS = {"pw-play": "pipewire-bin", "pw-record": "pipewire-bin", "pw-link": "pipewire-bin"}
# The local loopback of a running system, whose room nobody knows.
_USUAL_DELAY_SEC = 0.04
_USUAL_GAIN = 0.5
# The echo's delay is found in speech to some frames.
_TOLD_WITHIN_FRAMES = 48


@dataclass(frozen=True, slots=True)
class AecOptions:
    """What the command line says; `simulate`: the host's device, "" for the running system."""

    json: bool = False
    plot: Path | None = None
    yes: bool = False
    simulate: str = ""
    seconds: float = 16.0
    runs: int = 5
    sink: str = ""
    source: str = ""


def run_aec_check(options: AecOptions) -> int:
    """Exit status: 0 as good as the local loopback, 1 worse."""
    require("numpy")
    require_picture(options.plot)
    for tool, package in _TOOLS.items():
        if not shutil.which(tool):
            raise UnavailableError(f"{tool} is missing", hint=f"apt install {package}")
    if options.seconds < 8:
        raise ConfigError(f"{options.seconds:g} s are too short", hint="check for 8 s or more")
    if options.simulate:
        with simulated(options.simulate, QUANTUM_FRAMES) as (spec, bed):
            return _check(options, bed.guest.env, SINK, SOURCE, spec)
    nodes = graph_nodes(os.environ)
    sink = choose_node(nodes, options.sink, "Audio/Sink")
    source = choose_node(nodes, options.source, "Audio/Source")
    total = options.seconds * options.runs
    if not options.yes and not ask(f"This plays {total:g} s of speech to {sink}"):
        print("xen-pv-audio: nothing was played", file=sys.stderr)
        return 1
    return _check(options, os.environ, sink, source, None)


def _check(
    options: AecOptions, env: Mapping[str, str], sink: str, source: str, spec: OutputSpec | None
) -> int:
    from .aec_graph import EchoPath, local_loudspeaker, run_canceller
    from .aec_sounds import room_response, write_room, write_speech

    directory = KEEPER.keep(Path(tempfile.mkdtemp(prefix="xpa-aec-")))
    try:
        room, local_room = directory / "room.wav", directory / "local-room.wav"
        write_room(room, room_response(RATE), RATE)
        delay_sec = _USUAL_DELAY_SEC if spec is None else spec.delay_sec
        gain = _USUAL_GAIN if spec is None else spec.gain
        speech, later_speech = directory / "speech.wav", directory / "later-speech.wav"
        write_speech(speech, options.seconds, RATE)
        air_frames = round(delay_sec * RATE)

        write_room(local_room, room_response(RATE, gain=gain, delay_frames=air_frames), RATE)
        with local_loudspeaker(env) as local:
            plain = EchoPath(local, local, True, local_room)
            card = EchoPath(sink, source, False, None if spec is None else room)

            told: list[float] = []

            def ask_delay() -> None:
                told[:] = [published_delay_sec(env, node) or 0.0 for node in (sink, source)]

            def run(name: str, path: EchoPath, sounds: Path = speech) -> Tracks:
                if not options.json:
                    print(f"{options.seconds:g} s of speech, {name} ...", file=sys.stderr)
                return run_canceller(env, directory, path, sounds, options.seconds, ask_delay)

            recorded = {"local": [run("local", plain)], "unaligned": [run("card", card)]}
            # The quantum that a captured frame waits is there on the local loopback as well: its
            # graph is a circle, and PipeWire breaks that by a quantum.
            later = round(RATE * sum(told))
            card = replace(card, play_delay_frames=later)
            # who speaks at the near end hears the card later, too
            write_speech(
                later_speech, options.seconds, RATE, near_delay_frames=card.play_delay_frames
            )
            recorded["card"] = [run("card, delay told", card, later_speech)]
            for _ in range(options.runs - 1):
                recorded["local"].append(run("local", plain))
                recorded["card"].append(run("card, delay told", card, later_speech))
    finally:
        KEEPER.remove(directory)
    found = None
    if spec is not None:
        found = _delay_frames(recorded["unaligned"][0]) - _delay_frames(recorded["local"][0])
    return _report(options, recorded, later, found)


def _delay_frames(tracks: Tracks) -> int:
    from .aec_analysis import echo_delay_frames

    delay = echo_delay_frames(tracks, RATE)
    if delay is None:
        raise XenPvAudioError("no echo came back", hint="turn up loudspeaker and microphone")
    return round(delay)


def _report(
    options: AecOptions,
    recorded: Mapping[str, list[Tracks]],
    published_frames: int,
    found_frames: int | None,
) -> int:
    """told, found: how much later the card's echo is than the local loopback's."""
    from .aec_analysis import failures, judge_run, median_figures
    from .aec_sounds import phases

    plan = phases(options.seconds)

    def judge(name: str, goal_db: float | None) -> tuple[Figures, list[Curves]]:
        found = [judge_run(tracks, RATE, plan, goal_db) for tracks in recorded[name]]
        heard = [run for run in found if run is not None]
        if len(heard) < len(found):
            raise XenPvAudioError(
                f"no echo came back ({name})", hint="turn up loudspeaker and microphone"
            )
        return median_figures([figures for figures, _ in heard]), [curves for _, curves in heard]

    goal_db = judge("local", None)[0].erle_db
    unaligned = judge("unaligned", goal_db)[0]
    local, local_curves = judge("local", goal_db)
    card, card_curves = judge("card", goal_db)
    reasons = failures(card, local)
    if found_frames is not None and abs(published_frames - found_frames) > _TOLD_WITHIN_FRAMES:
        reasons.append(
            f"applications are told {published_frames} frames of delay, it is {found_frames}"
        )
    result = {
        "passed": not reasons,
        "failures": reasons,
        "simulated": options.simulate or None,
        "seconds": options.seconds,
        "runs": options.runs,
        "card": _rounded(card),
        "local": _rounded(local),
        "card_without_play_delay": _rounded(unaligned),
        "told_delay_frames": published_frames,
        "true_delay_frames": found_frames,
    }
    table = json.dumps(result) if options.json else _table(result, card, local, unaligned)
    print(table, flush=True)
    if options.plot is not None:
        from .plots import plot_aec

        where = options.simulate or "this system"
        plot_aec(
            options.plot,
            f"xen-pv-audio aec-check: {where}, {options.runs} runs",
            plan,
            {"local loopback": local_curves, "Xen PV Audio": card_curves},
            RATE,
        )
    return 1 if reasons else 0


def _rounded(figures: Figures) -> dict[str, Any]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(figures).items()}


def _table(result: Mapping[str, Any], card: Figures, local: Figures, unaligned: Figures) -> str:
    def seconds(value: float | None) -> str:
        return "never" if value is None else f"{value:.2f} s"

    def number(value: float | None, unit: str) -> str:
        return "not found" if value is None else f"{value:+.1f} {unit}"

    rows: list[tuple[str, Callable[[Figures], str]]] = [
        ("ERLE", lambda f: f"{f.erle_db:.1f} dB"),
        ("ERLE after double talk", lambda f: f"{f.erle_again_db:.1f} dB"),
        ("converged after", lambda f: seconds(f.convergence_sec)),
        ("near end, clean part", lambda f: f"{f.near_db:+.1f} dB"),
        ("echo's delay", lambda f: number(f.delay_frames, "frames")),
        ("drift of it", lambda f: number(f.delay_drift_ppm, "ppm")),
        ("jumps of it", lambda f: str(f.delay_steps)),
    ]
    lines = [f"  {'':<24} {'Xen PV Audio':<18} {'local loopback':<18} without play_delay"]
    lines += [
        f"  {name:<24} {show(card):<18} {show(local):<18} {show(unaligned)}" for name, show in rows
    ]
    lines.append(
        f"  {'for the canceller':<24} buffer.play_delay = {result['told_delay_frames']}/{RATE}"
    )
    reasons = result["failures"]
    lines.append(f"  {'result':<24} " + ("FAIL: " + "; ".join(reasons) if reasons else "PASS"))
    return "\n".join(lines)
