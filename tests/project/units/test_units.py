"""The units in packaging/ against systemd and the program that they start. What they forbid is
tried by tests/interop/units."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xenpvaudio import usage

ROOT = Path(__file__).resolve().parents[3]
PACKAGING = ROOT / "packaging"
UNITS = sorted((PACKAGING / "systemd").rglob("*.service"))
HALVES = [path for path in UNITS if path.stem.endswith(("-frontend", "-backend"))]
SYSTEM_WIDE = PACKAGING / "pipewire" / "system-wide"
OF_PIPEWIRE = sorted(SYSTEM_WIDE.glob("*.service"))


def name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def unit(path: Path) -> configparser.ConfigParser:
    """A unit file; of a key that is there more than once, the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("path", UNITS, ids=name)
def test_unit_has_what_a_unit_needs(path: Path) -> None:
    sections = unit(path)
    assert sections.sections() == ["Unit", "Service", "Install"]
    assert sections["Unit"]["Documentation"] == "man:xen-pv-audio(1)"
    assert sections["Unit"]["ConditionPathExists"].startswith(("/dev/xen/", "/run/xenstored/"))
    user = path.parent.name == "user"
    wanted_by = "default.target" if user else "multi-user.target"
    assert sections["Install"]["WantedBy"] == wanted_by


@pytest.mark.parametrize("path", HALVES, ids=name)
def test_unit_of_a_half_runs_a_command_line_that_the_program_takes(path: Path) -> None:
    sections = unit(path)
    program, *arguments = sections["Service"]["ExecStart"].split()
    assert program == "xen-pv-audio"
    parsed = usage.parser().parse_args(arguments)
    assert (f"xen-pv-audio-{parsed.command}", parsed.wait) == (path.stem, True)
    assert "pipewire.service" in sections["Unit"]["After"].split()


# What differs where the system's manager starts a half, and not each user's.
OF_THE_SYSTEM = {
    "User": "xen-pv-audio",
    "RuntimeDirectoryMode": "0700",
    "ProtectHome": "yes",
    "LimitRTPRIO": "88",
}
OF_A_USER = {"Slice": "session.slice", "ProtectHome": "read-only", "ReadWritePaths": "%t"}


@pytest.mark.parametrize("half", ["frontend", "backend"])
def test_both_units_of_a_half_are_the_same_but_for_who_runs_them(half: str) -> None:
    user, system = (
        dict(unit(PACKAGING / "systemd" / scope / f"xen-pv-audio-{half}.service")["Service"])
        for scope in ("user", "system")
    )
    assert system.pop("RuntimeDirectory") == f"xen-pv-audio-{half}"
    assert system.pop("Environment") == f"XDG_RUNTIME_DIR=%t/xen-pv-audio-{half}"
    assert {key: text for key, text in system.items() if user.get(key) != text} == OF_THE_SYSTEM
    assert {key: text for key, text in user.items() if system.get(key) != text} == OF_A_USER


@pytest.mark.parametrize("half", ["frontend", "backend"])
def test_the_systems_unit_finds_pipewire_where_its_own_units_put_it(half: str) -> None:
    path = PACKAGING / "systemd" / "system" / f"xen-pv-audio-{half}.service"
    assert "\nEnvironment=PIPEWIRE_RUNTIME_DIR=%t/pipewire\n" in path.read_text(encoding="utf-8")
    socket = unit(SYSTEM_WIDE / "pipewire.socket")["Socket"]
    assert socket["ListenStream"] == "%t/pipewire/pipewire-0"
    users = (PACKAGING / "sysusers.d" / "xen-pv-audio.conf").read_text(encoding="utf-8")
    assert f"\nm xen-pv-audio {socket['SocketGroup']}\n" in users
    others = (SYSTEM_WIDE / "pipewire.conf").read_text(encoding="utf-8")
    for service in OF_PIPEWIRE:
        assert f"\nu {unit(service)['Service']['User']} " in others
    asked = unit(path)["Unit"]["Wants"].split()
    assert set(asked) == {service.name for service in OF_PIPEWIRE}


@pytest.mark.parametrize("half", ["frontend", "backend"])
def test_a_users_unit_leaves_it_to_the_systems(half: str) -> None:
    folder = PACKAGING / "systemd"
    path = folder / "system" / f"xen-pv-audio-{half}.service"
    there = f"/run/{unit(path)['Service']['RuntimeDirectory']}"
    user = (folder / "user" / path.name).read_text(encoding="utf-8")
    assert f"\nConditionPathExists=!{there}\n" in user


@pytest.mark.parametrize("path", [*HALVES, *OF_PIPEWIRE], ids=name)
def test_unit_is_given_up_when_it_fails_again_and_again(path: Path) -> None:
    """Whatever makes it fail at once: as many starts as are allowed fit into the time."""
    sections = unit(path)
    allowed = int(sections["Unit"]["StartLimitBurst"])
    between_sec = float(sections["Service"]["RestartSec"])
    assert allowed * (between_sec + 1) < float(sections["Unit"]["StartLimitIntervalSec"])
    assert allowed * between_sec >= 60  # XenStore may come late at a boot


def systemd_analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.fail("systemd-analyze is missing: apt install systemd")
    return program


@pytest.mark.parametrize("path", [*UNITS, *OF_PIPEWIRE], ids=name)
def test_unit_leaves_little_exposed(path: Path) -> None:
    """By systemd's own count, from 0 to 10; 10 times that is its --threshold. PipeWire may have
    modules that use a network."""
    most = 4.0 if path in OF_PIPEWIRE else 2.5
    threshold = f"--threshold={most * 10:.0f}"
    done = subprocess.run(
        [systemd_analyze(), "security", "--offline=true", threshold, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert done.returncode == 0 and float(found[1]) <= most, done.stdout


@pytest.mark.parametrize("path", HALVES, ids=name)
def test_unit_of_a_half_leaves_it_what_a_real_time_data_loop_needs(path: Path) -> None:
    service = unit(path)["Service"]
    assert "RestrictRealtime" not in service
    assert service.get("LimitRTPRIO", "") == ("" if path.parent.name == "user" else "88")
    listed: set[str] = set()
    groups = [service["SystemCallFilter"]]
    while groups:
        said = subprocess.run(
            [systemd_analyze(), "syscall-filter", groups.pop()],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        words = {line.strip() for line in said.splitlines()[1:] if not line.strip().startswith("#")}
        listed |= words
        groups += [word for word in words if word.startswith("@")]
    # itself, by a limit of its user's or the unit's; what rtkit asks for first; what it gives up at
    # its start
    assert {"sched_setscheduler", "prlimit64", "setrlimit", "capset", "prctl"} <= listed


@pytest.mark.parametrize("path", [*UNITS, *OF_PIPEWIRE], ids=name)
def test_systemd_accepts_the_unit(path: Path, tmp_path: Path) -> None:
    program = systemd_analyze()
    # It looks for the command in its own path, where nothing of ours is installed; and for the
    # units that a unit requires beside it.
    copy = tmp_path / path.name
    text = path.read_text(encoding="utf-8")
    copy.write_text(text.replace("ExecStart=xen-pv-audio ", f"ExecStart={sys.executable} "))
    if path in OF_PIPEWIRE:
        for other in SYSTEM_WIDE.iterdir():
            if other != path:
                shutil.copy(other, tmp_path)
    instance = ["--user"] if path.parent.name == "user" else []
    done = subprocess.run(
        [program, *instance, "verify", "--man=no", str(copy)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if path.name in line]
    if done.returncode != 0 and not complaints:
        pytest.skip(f"systemd-analyze cannot work here: {done.stderr.strip()}")
    assert complaints == []
