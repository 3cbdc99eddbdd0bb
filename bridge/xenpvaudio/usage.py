"""What the command line may say: commands, options, and their one-line help."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from . import __version__
from .config import DEFAULT_POLICY_PATH, SERVED, FrontendSettings
from .errors import ConfigError
from .measure.duplex import SIMULATED
from .xen.devices import ATTACH_SEC

GUESTS = ("pipewire", "alsa", "pulse")
_VERBOSE = "more messages on standard error"
# Of fields of FrontendSettings.
_PREFERENCES = {
    "rate": "sample rate in Hz to prefer where the card has several",
    "channels": "number of channels to prefer where the card has several",
    "period_frames": "frames between two position reports",
    "buffer_frames": "frames of the buffer that is shared with the backend",
    "quantum_frames": "frames a cycle that the node asks PipeWire for",
    "lead_frames": "frames to be written ahead of the one that is heard; 0: as the host needs",
}


class _Parser(argparse.ArgumentParser):
    """Wrong usage is one line, like every other error."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise ConfigError(message, hint=f"try {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    made = _Parser(prog="xen-pv-audio", description="True-latency sound for Xen guests.")
    made.add_argument(
        "--version",
        action="version",
        version=f"xen-pv-audio {__version__}",
        help="print the version",
    )
    commands = made.add_subparsers(dest="command", required=True, parser_class=_Parser)

    frontend = commands.add_parser(
        "frontend", help="in a guest: offer its vsnd devices as PipeWire sinks and sources"
    )
    for setting in fields(FrontendSettings):
        if isinstance(setting.default, bool | str):
            continue
        frontend.add_argument(
            f"--{setting.name.replace('_', '-')}",
            type=_positive,
            metavar="N",
            help=f"{_PREFERENCES[setting.name]} (default {setting.default})",
        )
    frontend.add_argument(
        "--settings", type=Path, metavar="FILE", help="these options as a file (TOML)"
    )
    frontend.add_argument(
        "--pulse-delay",
        action="store_true",
        default=None,
        help="tell the delay for PulseAudio clients, which read half a quantum too little",
    )
    frontend.add_argument(
        "--keep-silent-microphone",
        action="store_true",
        default=None,
        help="show the microphone as plugged in also while the host gives none, and it is silent",
    )
    frontend.add_argument(
        "--serve",
        choices=SERVED,
        help="whom the streams are for: PipeWire, or without it ALSA programs (default pipewire)",
    )

    backend = commands.add_parser(
        "backend", help="in dom0 or a driver domain: play and capture for the guests"
    )
    backend.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help=f"what each domain may have, TOML (default {DEFAULT_POLICY_PATH}, if it exists)",
    )
    backend.add_argument(
        "--output",
        metavar="OUTPUT",
        help="for every domain: pipewire, pulse, alsa:DEVICE, null, or loopback,delay=40ms",
    )
    backend.add_argument(
        "--allow-microphone",
        action="store_true",
        help="every domain may capture, whatever the policy says (for trying out)",
    )
    backend.add_argument(
        "--record",
        type=Path,
        metavar="FILE.wav",
        help="also write what is played, as WAV; if it is a directory, a file for each stream",
    )
    backend.add_argument(
        "--no-position-ext", action="store_true", help="do not offer the position extension"
    )
    for daemon in (frontend, backend):
        daemon.add_argument(
            "--wait",
            action="store_true",
            help="wait for PipeWire, in a guest for a card, and for the end of another user's "
            "service of the same kind, instead of ending",
        )
        daemon.add_argument("-v", "--verbose", action="store_true", help=_VERBOSE)

    demo = commands.add_parser("demo", help="both halves on this machine, without Xen")
    demo.add_argument("file", nargs="?", type=Path, metavar="FILE.wav", help="what to play")
    demo.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    demo.add_argument(
        "--keep", action="store_true", help="stay up, and say how to play your own programs"
    )
    demo.add_argument(
        "--format",
        default="",
        metavar="FORMAT",
        help="the card's sample format, such as s16_le (default: the narrowest that loses nothing)",
    )
    demo.add_argument(
        "--quantum",
        type=_positive,
        default=1024,
        metavar="N",
        help="frames a cycle of PipeWire, in guest and host (default %(default)s)",
    )
    demo.add_argument(
        "--guest",
        choices=GUESTS,
        default="pipewire",
        metavar="KIND",
        help="what programs play through in the guest: pipewire (default), alsa or pulse",
    )
    demo.add_argument(
        "--host",
        default="pipewire",
        metavar="OUTPUT",
        help="what the host plays through: pipewire (default), pulse, alsa:DEVICE or null",
    )
    demo.add_argument(
        "--private", action="store_true", help="a private host even where a PipeWire is running"
    )
    demo.add_argument("-v", "--verbose", action="store_true", help=_VERBOSE)
    _add_measurements(commands)
    _add_questions(commands)
    _add_orders(commands)
    _add_toolstack(commands)
    _describe(made)
    return made


def _describe(parser: argparse.ArgumentParser) -> None:
    """The help of each command begins with what the list of commands says of it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                text = str(choice.help)
                action.choices[choice.dest].description = f"{text[:1].upper()}{text[1:]}."
                _describe(action.choices[choice.dest])


def _add_questions(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor", help="look at all that sound depends on here, and say what mends it"
    )
    doctor.add_argument(
        "half",
        nargs="?",
        choices=("frontend", "backend"),
        help="which half is to work here, frontend or backend (by default found out)",
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
        command.add_argument("-v", "--verbose", action="store_true", help=_VERBOSE)


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
        command.add_argument(
            "guest", metavar="GUEST", help="its name, number or UUID; all: each that has a card now"
        )
        command.add_argument(
            "--always", action="store_true", help="also after the backend or the host is restarted"
        )
    aec = commands.add_parser("aec", help="in a guest: cancel the echo of all that is played")
    switches = aec.add_subparsers(dest="order", required=True, metavar="ORDER")
    enable = switches.add_parser("enable", help="from now on, as the default sink and source")
    disable = switches.add_parser("disable", help="no longer, and the defaults of before")
    state = switches.add_parser("status", help="whether it runs, and with which delay")
    state.add_argument("--json", action="store_true", help="the same as JSON")
    for command in (allow, deny, listed, mute, unmute, enable, disable, state):
        command.add_argument("-v", "--verbose", action="store_true", help=_VERBOSE)


def _add_toolstack(commands: Any) -> None:
    attach = commands.add_parser(
        "attach", help="in domain 0: give a domain a card, where the toolstack has no vsnd"
    )
    attach.add_argument("domain", metavar="DOMAIN", help="its name, number or UUID")
    attach.add_argument("file", type=Path, metavar="FILE.cfg", help="with vsnd = [...], as for xl")
    attach.add_argument(
        "--card", type=_number, metavar="N", help="its number (default the next that is free)"
    )
    attach.add_argument(
        "--wait",
        type=_wait,
        default=ATTACH_SEC,
        metavar="SECONDS",
        help="for both ends to connect; 0: do not wait (default %(default)g)",
    )
    detach = commands.add_parser("detach", help="in domain 0: take a card from a domain")
    detach.add_argument("domain", metavar="DOMAIN", help="its name, number or UUID")
    detach.add_argument(
        "card", nargs="?", type=_number, metavar="CARD", help="its number (default the only one)"
    )
    detach.add_argument(
        "--force", action="store_true", help="also if the backend does not close it in time"
    )
    for command in (attach, detach):
        command.add_argument("-v", "--verbose", action="store_true", help=_VERBOSE)


def _add_measurements(commands: Any) -> None:
    latency = commands.add_parser(
        "latency", help="compare the delay that applications are told with the true one"
    )
    latency.add_argument(
        "--seconds", type=_seconds, default=10.0, metavar="S", help="how long (default %(default)g)"
    )
    latency.add_argument(
        "--separate", action="store_true", help="sink and source each drive a graph of their own"
    )
    latency.add_argument(
        "--quantum",
        type=_positive,
        default=1024,
        metavar="N",
        help="frames a cycle, or of an ALSA program's period (default %(default)s)",
    )
    latency.add_argument(
        "--guest",
        choices=SERVED,
        default="pipewire",
        metavar="KIND",
        help="with --simulate: a guest with pipewire (default), or an alsa program without it",
    )

    aec = commands.add_parser(
        "aec-check", help="compare echo cancellation with that on a local loopback"
    )
    aec.add_argument(
        "--seconds",
        type=_seconds,
        default=16.0,
        metavar="S",
        help="how long one run is, at least 8 (default %(default)g)",
    )
    aec.add_argument(
        "--runs",
        type=_positive,
        default=5,
        metavar="N",
        help="how many of each (default %(default)s)",
    )

    for command in (latency, aec):
        command.add_argument(
            "--sink",
            default="",
            metavar="NAME",
            help="node.name of what plays (default: the first sink of Xen PV Audio)",
        )
        command.add_argument(
            "--source",
            default="",
            metavar="NAME",
            help="node.name of what captures (default: the first source of Xen PV Audio)",
        )
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
        command.add_argument("-v", "--verbose", action="store_true", help=_VERBOSE)


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        raise argparse.ArgumentTypeError(f"{text} is not a card's number")
    return int(text)


def _wait(text: str) -> float:
    return 0.0 if text == "0" else _seconds(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return seconds
