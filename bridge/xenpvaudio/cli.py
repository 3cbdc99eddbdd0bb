"""The command line: arguments in, exit status out; the work is in a module a command.

Modules of a command are imported when it runs: `xen-pv-audio --help` needs neither PipeWire nor the
compiled part.
"""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields, replace

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
from .usage import parser


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
            guest=arguments.guest,
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
            guest=arguments.guest,
            host=arguments.host,
            host_has_pipewire=parse_output(arguments.host).kind == "pipewire",
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
    from .control.status.command import run_status

    return run_status(as_json=arguments.json, as_metrics=arguments.metrics, watch=arguments.watch)


def _mic(arguments: argparse.Namespace) -> int:
    from .control.orders import run_mic_list, run_order

    if arguments.order == "list":
        return run_mic_list(as_json=arguments.json)
    allowed = arguments.order == "allow"
    return run_order(arguments.guest, microphone=allowed, always=arguments.always)


def _aec(arguments: argparse.Namespace) -> int:
    from .aec.command import run_aec

    return run_aec(arguments.order, as_json=getattr(arguments, "json", False))


def _mute(arguments: argparse.Namespace) -> int:
    from .control.orders import run_order

    muted = arguments.command == "mute"
    return run_order(arguments.guest, muted=muted, always=arguments.always)


def _attach(arguments: argparse.Namespace) -> int:
    from .toolstack.cards import run_attach

    return run_attach(
        arguments.domain, arguments.file, devid=arguments.card, wait_sec=arguments.wait
    )


def _detach(arguments: argparse.Namespace) -> int:
    from .toolstack.cards import run_detach

    return run_detach(arguments.domain, arguments.card, force=arguments.force)


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
    "aec": _aec,
    "mute": _mute,
    "unmute": _mute,
    "attach": _attach,
    "detach": _detach,
}


# What write() says of a full disk, a quota, a limit of the file's size, and a disk that is broken.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


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


def _open_what_is_closed() -> None:
    """A standard stream that is closed (`>&-`) leads nowhere instead. Else the next file that is
    opened would have its number, and what is printed to no stream goes to standard output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(nowhere, "w" if number else "r", encoding="utf-8"))


def _drop_output() -> None:
    """What is left of it, which Python would try to write at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status (errors.py)."""
    _open_what_is_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):  # as standard error does by itself
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            arguments = parser().parse_args(argv)
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
        _drop_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename or error.errno not in _UNWRITABLE:
            raise
        _drop_output()
        print(f"xen-pv-audio: cannot write the output: {error.strerror}", file=sys.stderr)
        return 1
    except XenPvAudioError as error:
        print(f"xen-pv-audio: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
