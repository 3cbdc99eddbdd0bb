"""The command line: arguments in, exit status out; the work is in a module a command.

Modules of a command are imported when it runs: `xen-pv-audio --help` needs neither PipeWire nor the
compiled part.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from . import __version__
from .config import (
    DEFAULT_POLICY_PATH,
    DomainPolicy,
    FrontendSettings,
    Policy,
    load_policy,
    parse_output,
)
from .errors import ConfigError, XenPvAudioError
from .logs.peer_log import LineFormatter
from .measure.duplex import SIMULATED


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line, like every other error."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise ConfigError(message, hint=f"try {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="xen-pv-audio", description="True-latency sound for Xen guests.")
    parser.add_argument("--version", action="version", version=f"xen-pv-audio {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    frontend = commands.add_parser(
        "frontend", help="in a guest: offer its vsnd devices as PipeWire sinks and sources"
    )
    for setting in fields(FrontendSettings):
        if isinstance(setting.default, bool):
            continue
        frontend.add_argument(
            f"--{setting.name.replace('_', '-')}",
            type=_positive,
            help=f"preferred {setting.name.replace('_', ' ')} (default {setting.default})",
        )
    frontend.add_argument("--settings", type=Path, help="these options as a file (TOML)")
    frontend.add_argument(
        "--pulse-delay",
        action="store_true",
        default=None,
        help="tell the delay for PulseAudio clients, which read half a quantum too little",
    )

    backend = commands.add_parser(
        "backend", help="in dom0 or a driver domain: play and capture for the guests"
    )
    backend.add_argument("--policy", type=Path, help="what each domain may have (TOML)")
    backend.add_argument(
        "--output", help="for every domain: pipewire, null, or loopback,delay=40ms,gain=-6dB,ppm=0"
    )
    backend.add_argument(
        "--allow-microphone", action="store_true", help="every domain may capture (for trying out)"
    )
    backend.add_argument(
        "--record",
        type=Path,
        metavar="FILE.wav",
        help="what is played, as WAV; in a directory, a file a stream",
    )
    backend.add_argument(
        "--no-position-ext", action="store_true", help="do not offer the position extension"
    )
    for daemon in (frontend, backend):
        daemon.add_argument(
            "--wait", action="store_true", help="wait for PipeWire (and a card) to appear"
        )
        daemon.add_argument("-v", "--verbose", action="store_true")

    demo = commands.add_parser("demo", help="both halves on this machine, without Xen")
    demo.add_argument("file", nargs="?", type=Path, metavar="FILE.wav", help="what to play")
    demo.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    demo.add_argument(
        "--keep", action="store_true", help="stay up, and say how to play your own programs"
    )
    demo.add_argument("--format", default="", help="the card's sample format, such as s16_le")
    demo.add_argument("--quantum", type=_positive, default=1024, help="of guest and host, frames")
    demo.add_argument("--private", action="store_true", help="do not use the running PipeWire")
    demo.add_argument("-v", "--verbose", action="store_true")
    _add_measurements(commands)
    _add_questions(commands)
    _add_orders(commands)
    return parser


def _add_questions(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor", help="look at all that sound depends on here, and say what mends it"
    )
    doctor.add_argument(
        "half",
        nargs="?",
        choices=("frontend", "backend"),
        help="which half is to work here (by default found out)",
    )
    doctor.add_argument("--json", action="store_true", help="the findings as JSON")
    query = commands.add_parser("query", help="list the cards here, and what their streams may be")
    query.add_argument("--json", action="store_true", help="the cards as JSON")
    status = commands.add_parser(
        "status", help="show what runs here: formats, delays, xruns, who plays"
    )
    status.add_argument("--watch", action="store_true", help="go on until interrupted")
    status.add_argument("--json", action="store_true", help="the figures as JSON")
    status.add_argument("--metrics", action="store_true", help="the figures as OpenMetrics text")
    for command in (doctor, query, status):
        command.add_argument("-v", "--verbose", action="store_true")


def _add_orders(commands: Any) -> None:
    mic = commands.add_parser("mic", help="give a guest the microphone, or take it, at once")
    orders = mic.add_subparsers(dest="order", required=True, metavar="ORDER")
    allow = orders.add_parser("allow", help="this guest records what the microphone hears")
    deny = orders.add_parser("deny", help="this guest records silence")
    listed = orders.add_parser("list", help="who may use it, by whose word, and who does now")
    listed.add_argument("--json", action="store_true", help="the list as JSON")
    mute = commands.add_parser("mute", help="silence a guest in the host's mixer, at once")
    unmute = commands.add_parser("unmute", help="let it be heard again")
    for command in (allow, deny, mute, unmute):
        command.add_argument("guest", metavar="GUEST", help="its name, number or UUID, or all")
        command.add_argument(
            "--always", action="store_true", help="also after the backend or the host is restarted"
        )
    for command in (allow, deny, listed, mute, unmute):
        command.add_argument("-v", "--verbose", action="store_true")


def _add_measurements(commands: Any) -> None:
    latency = commands.add_parser(
        "latency", help="compare the delay that applications are told with the true one"
    )
    latency.add_argument("--seconds", type=_seconds, default=10.0, help="how long (default 10)")
    latency.add_argument(
        "--separate", action="store_true", help="sink and source each drive a graph of their own"
    )
    latency.add_argument("--quantum", type=_positive, default=1024, help="frames a cycle")

    aec = commands.add_parser(
        "aec-check", help="compare echo cancellation with that on a local loopback"
    )
    aec.add_argument("--seconds", type=_seconds, default=16.0, help="of a run (default 16)")
    aec.add_argument("--runs", type=_positive, default=5, help="how many of each (default 5)")

    for command in (latency, aec):
        command.add_argument("--sink", default="", metavar="NAME", help="node.name of what plays")
        command.add_argument("--source", default="", metavar="NAME", help="of what captures")
        command.add_argument("--json", action="store_true", help="the figures as JSON")
        command.add_argument("--plot", type=Path, metavar="FILE.png", help="a picture of them")
        command.add_argument("--yes", action="store_true", help="do not ask before making noise")
        command.add_argument(
            "--simulate",
            nargs="?",
            default="",
            const=SIMULATED,
            metavar="OUTPUT",
            help=f"on a set-up without Xen, whose host device is OUTPUT (default {SIMULATED})",
        )
        command.add_argument("-v", "--verbose", action="store_true")


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return seconds


def _frontend(arguments: argparse.Namespace) -> int:
    from .daemon import run_frontend
    from .frontend.settings_file import load_settings

    chosen = {
        setting.name: value
        for setting in fields(FrontendSettings)
        if (value := getattr(arguments, setting.name)) is not None
    }
    run_frontend(replace(load_settings(arguments.settings), **chosen), wait=arguments.wait)
    return 0


def _backend(arguments: argparse.Namespace) -> int:
    from .daemon import run_backend

    run_backend(
        lambda: _policy(arguments),
        arguments.policy or DEFAULT_POLICY_PATH,
        wait=arguments.wait,
        record=arguments.record,
        position_ext=not arguments.no_position_ext,
    )
    return 0


def _latency(arguments: argparse.Namespace) -> int:
    from .measure.latency import LatencyOptions, run_latency

    return run_latency(
        LatencyOptions(
            json=arguments.json,
            plot=arguments.plot,
            yes=arguments.yes,
            simulate=arguments.simulate,
            seconds=arguments.seconds,
            quantum_frames=arguments.quantum,
            sink=arguments.sink,
            source=arguments.source,
            separate=arguments.separate,
        )
    )


def _aec_check(arguments: argparse.Namespace) -> int:
    from .measure.aec import AecOptions, run_aec_check

    return run_aec_check(
        AecOptions(
            json=arguments.json,
            plot=arguments.plot,
            yes=arguments.yes,
            simulate=arguments.simulate,
            seconds=arguments.seconds,
            runs=arguments.runs,
            sink=arguments.sink,
            source=arguments.source,
        )
    )


def _demo(arguments: argparse.Namespace) -> int:
    from .sndif.codes import FORMAT_BY_NAME
    from .testbed.demo import DemoOptions, run_demo

    if arguments.format and arguments.format not in FORMAT_BY_NAME:
        raise ConfigError(
            f'--format: unknown sample format "{arguments.format}"',
            hint="use s16_le, s32_le, float_le ...",
        )
    return run_demo(
        DemoOptions(
            file=arguments.file,
            json=arguments.json,
            keep=arguments.keep,
            format=arguments.format,
            quantum_frames=arguments.quantum,
            private=arguments.private,
            verbose=arguments.verbose,
        )
    )


def _doctor(arguments: argparse.Namespace) -> int:
    from .control.doctor import run_doctor

    return run_doctor(arguments.half or "", as_json=arguments.json)


def _query(arguments: argparse.Namespace) -> int:
    from .control.query import run_query

    return run_query(as_json=arguments.json)


def _status(arguments: argparse.Namespace) -> int:
    from .control.status import run_status

    return run_status(as_json=arguments.json, as_metrics=arguments.metrics, watch=arguments.watch)


def _mic(arguments: argparse.Namespace) -> int:
    from .control.orders import run_mic_list, run_order

    if arguments.order == "list":
        return run_mic_list(as_json=arguments.json)
    allowed = arguments.order == "allow"
    return run_order(arguments.guest, microphone=allowed, always=arguments.always)


def _mute(arguments: argparse.Namespace) -> int:
    from .control.orders import run_order

    muted = arguments.command == "mute"
    return run_order(arguments.guest, muted=muted, always=arguments.always)


_COMMANDS = {
    "frontend": _frontend,
    "backend": _backend,
    "demo": _demo,
    "latency": _latency,
    "aec-check": _aec_check,
    "doctor": _doctor,
    "query": _query,
    "status": _status,
    "mic": _mic,
    "mute": _mute,
    "unmute": _mute,
}


def _policy(arguments: argparse.Namespace) -> Policy:
    policy = load_policy(arguments.policy)

    def changed(domain: DomainPolicy) -> DomainPolicy:
        if arguments.output:
            domain = replace(domain, output=parse_output(arguments.output))
        if arguments.allow_microphone:
            domain = replace(domain, microphone=True, ask_microphone=False)
        return domain

    return policy.changed(changed)


def _end_in_order() -> None:
    """SIGTERM, and the SIGHUP of a terminal that is closed, end what this command has started."""

    def end(number: int, _: object) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        sys.exit(128 + number)

    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in numbers:
        signal.signal(number, end)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status (errors.py)."""
    try:
        try:
            arguments = _parser().parse_args(argv)
        finally:  # of --help, which ends the program
            sys.stdout.flush()
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LineFormatter("xen-pv-audio: %(message)s"))
        level = logging.DEBUG if arguments.verbose else logging.INFO
        logging.basicConfig(level=level, handlers=[handler])
        if arguments.command not in ("frontend", "backend"):  # which see to that themselves
            _end_in_order()
        try:
            return _COMMANDS[arguments.command](arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Who reads our output (head, a pager) has seen enough: no more of it, no word about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except XenPvAudioError as error:
        print(f"xen-pv-audio: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
