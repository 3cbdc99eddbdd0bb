"""The command doctor: looks at everything that sound depends on here, and says what mends it.

Each check stands alone; what cannot be looked at because of an earlier one is said to be unknown.
Nothing is changed, and no daemon of ours need run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from xenpvaudio.config import DEFAULT_POLICY_PATH, load_policy
from xenpvaudio.errors import ConfigError, XenPvAudioError
from xenpvaudio.frontend.settings_file import FOR_ALL, load_settings, settings_path
from xenpvaudio.logs.quoting import printable
from xenpvaudio.sndif.card import Card
from xenpvaudio.xen.connect import domain_from_env

from . import graph_checks, kernel_checks, plain_checks, store_checks
from .finding import Finding, Level, ok, unknown, wrong
from .machine import Machine

FRONTEND, BACKEND = "frontend", "backend"


def examine(machine: Machine, half: str) -> Iterator[Finding]:
    """All findings, in the order in which they depend on each other."""
    under_xen = kernel_checks.hypervisor(machine)
    yield under_xen
    if half == FRONTEND:
        yield kernel_checks.kernel_driver(machine)
    wanted = kernel_checks.FRONTEND_DEVICES if half == FRONTEND else kernel_checks.BACKEND_DEVICES
    if under_xen.level is Level.OK:
        yield from kernel_checks.devices(machine, wanted)
    else:
        yield unknown("device", "Xen's devices")
    yield _policy(machine) if half == BACKEND else _settings(machine)
    cards: list[Card] = []
    yield from _store(machine, half, cards)
    yield kernel_checks.real_time(machine)
    if half == FRONTEND and _serves_alsa(machine):
        yield from plain_checks.alsa_guest(machine)
        return
    kinds = _outputs(machine) if half == BACKEND else {"pipewire"}
    yield from plain_checks.host_without_pipewire(machine, kinds)
    if "pipewire" in kinds:
        yield from _graph(machine, half, cards)


def _may_be_there(path: Path) -> bool:
    """Also if its folder cannot be looked into: who loads it says why."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def _policy(machine: Machine) -> Finding:
    path = machine.path(str(DEFAULT_POLICY_PATH).lstrip("/"))
    if not _may_be_there(path):
        return ok("policy", f"no {DEFAULT_POLICY_PATH}: no guest may record")
    try:
        load_policy(path)
    except ConfigError as error:
        return wrong("policy", error.message, error.hint or f"correct {DEFAULT_POLICY_PATH}")
    return ok("policy", str(DEFAULT_POLICY_PATH))


def _settings(machine: Machine) -> Finding:
    path = settings_path(machine.environ, machine.path(str(FOR_ALL).lstrip("/")))
    if not _may_be_there(path):
        return ok("settings", "no frontend.toml: everything as usual")
    try:
        load_settings(path)
    except ConfigError as error:
        return wrong("settings", error.message, error.hint or f"correct {path}")
    return ok("settings", str(path))


def _serves_alsa(machine: Machine) -> bool:
    """Whether this guest's streams are for ALSA programs: by its settings, or one does so now."""
    path = settings_path(machine.environ, machine.path(str(FOR_ALL).lstrip("/")))
    with suppress(ConfigError):
        if _may_be_there(path) and load_settings(path).serve != "pipewire":
            return True
    return plain_checks.serves_programs(machine)


def _outputs(machine: Machine) -> set[str]:
    """The kinds that the policy names; what the backend was told otherwise is not known here."""
    path = machine.path(str(DEFAULT_POLICY_PATH).lstrip("/"))
    with suppress(ConfigError):
        if _may_be_there(path):
            return {table.output.kind for table in load_policy(path).tables}
    return {"pipewire"}


def _store(machine: Machine, half: str, cards: list[Card]) -> Iterator[Finding]:
    try:
        domain = domain_from_env(lambda call, *rest: call(*rest), machine.environ)
    except XenPvAudioError as error:
        yield store_checks.error_finding("xenstore", error)
        yield unknown("card", "the cards: XenStore has them")
        return
    try:
        yield ok("xenstore", f"XenStore answers, this is domain {domain.domid}")
        look = store_checks.own_cards if half == FRONTEND else store_checks.guests_cards
        yield from look(domain, cards)
    except XenPvAudioError as error:
        yield store_checks.error_finding("card", error)
    finally:
        domain.close()


def _graph(machine: Machine, half: str, cards: Iterable[Card]) -> Iterator[Finding]:
    found = graph_checks.read_graph(machine)
    if isinstance(found, Finding):
        yield found
        yield unknown("devices", "what is in PipeWire's graph")
        return
    yield graph_checks.daemon(found)
    yield graph_checks.session_manager(found)
    if half == FRONTEND:
        yield graph_checks.pulse(machine)
        yield graph_checks.quantum_rule(found)
        streams = sum(1 for card in cards for _ in card.streams)
        yield from graph_checks.own_nodes(found, streams)


def told(findings: Iterable[Finding]) -> Iterator[str]:
    """Lines for a person: what is wrong has what mends it below."""
    for finding in findings:
        word = finding.level.upper() if finding.level is Level.WRONG else finding.level
        yield printable(f"{word:<8} {finding.text}")
        if finding.mend:
            yield printable(f"{'':<8} -> {finding.mend}")


def run_doctor(
    half: str = "",
    *,
    as_json: bool = False,
    machine: Machine | None = None,
    out: TextIO = sys.stdout,
) -> int:
    """`half`: which one is to work here; empty: the backend where domains are started, else the
    frontend. 1 if anything is wrong."""
    machine, out = machine or Machine(), out or sys.stdout
    findings = list(examine(machine, half or (BACKEND if machine.is_host else FRONTEND)))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2), file=out)
    else:
        for line in told(findings):
            print(line, file=out)
    return 1 if any(finding.level is Level.WRONG for finding in findings) else 0
