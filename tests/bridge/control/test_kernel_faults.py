"""doctor finds each fault of the machine itself, and says the command that mends it: a machine's
files in a directory of the test's, one thing wrong at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from xenpvaudio.control.doctor import examine, told
from xenpvaudio.control.finding import Finding, Level
from xenpvaudio.control.machine import GROUP, Machine, User

# Neither root nor who runs the tests and owns these files.
NOBODY = 1_000_000
DEVICES = ("evtchn", "gntalloc", "gntdev", "xenbus")


def write(root: Path, name: str, text: str = "") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def sound_machine(tmp_path: Path) -> Machine:
    """A guest in which all is well, but that it has no XenStore and no PipeWire."""
    write(tmp_path, "sys/hypervisor/type", "xen\n")
    write(tmp_path, "proc/modules", "xen_evtchn 16384 2 - Live 0x0\nsnd_timer 1 0 - Live 0x0\n")
    write(tmp_path, "etc/group", f"root:x:0:\n{GROUP}:x:{os.getegid()}:other,mira\n")
    write(tmp_path, "usr/libexec/rtkit-daemon")
    for device in DEVICES:
        write(tmp_path, f"dev/xen/{device}")
        (tmp_path / "dev/xen" / device).chmod(0o660)
    user = User("mira", NOBODY, frozenset((NOBODY, os.getegid())), 0)
    return Machine(tmp_path, {"PATH": os.environ["PATH"]}, user)


def findings(machine: Machine, half: str = "frontend") -> list[Finding]:
    """Without what needs XenStore and PipeWire."""
    elsewhere = ("xenstore", "card", "pipewire", "devices")
    return [found for found in examine(machine, half) if found.check not in elsewhere]


@pytest.mark.parametrize("half", ["frontend", "backend"])
def test_nothing_is_wrong_where_nothing_is(sound_machine: Machine, half: str) -> None:
    assert {found.level for found in findings(sound_machine, half)} == {Level.OK}


Plant = Callable[[Machine], Machine]


def removed(name: str) -> Plant:
    def plant(machine: Machine) -> Machine:
        machine.path(name).unlink()
        return machine

    return plant


def rewritten(name: str, text: str) -> Plant:
    def plant(machine: Machine) -> Machine:
        write(machine.root, name, text)
        return machine

    return plant


def another_user(name: str = "mira", *groups: int) -> Plant:
    def plant(machine: Machine) -> Machine:
        return replace(machine, user=User(name, NOBODY, frozenset((NOBODY, *groups)), 0))

    return plant


def closed(machine: Machine) -> Machine:
    """As the kernel makes it: the rule of udev's is missing."""
    machine.path("dev/xen/gntalloc").chmod(0o600)
    return machine


def link_to_itself(machine: Machine) -> Machine:
    path = machine.path("etc/xen-pv-audio/backend.toml")
    path.parent.mkdir(parents=True)
    path.symlink_to(path)
    return machine


def folder_linked_to_itself(machine: Machine) -> Machine:
    """A folder that cannot be looked into, for root neither."""
    folder = machine.path("etc/xen-pv-audio")
    folder.symlink_to(folder)
    return machine


FAULTS: list[tuple[str, Plant, str, str, str]] = [
    ("frontend", removed("sys/hypervisor/type"), "hypervisor", "not run on Xen", "demo"),
    ("frontend", rewritten("sys/hypervisor/type", "kvm\n"), "hypervisor", "is kvm", "demo"),
    ("frontend", rewritten("proc/modules", "snd_xen_front 1 0 - Live 0x0\n"), "kernel-driver",
     "is loaded", "sudo rmmod snd_xen_front"),
    ("frontend", removed("dev/xen/evtchn"), "device", "/dev/xen/evtchn is not there",
     "sudo modprobe xen-evtchn"),
    ("frontend", removed("dev/xen/gntalloc"), "device", "/dev/xen/gntalloc is not there",
     "sudo modprobe xen-gntalloc"),
    ("frontend", removed("dev/xen/xenbus"), "device", "/dev/xen/xenbus is not there",
     "sudo modprobe xenfs"),
    ("backend", removed("dev/xen/gntdev"), "device", "/dev/xen/gntdev is not there",
     "sudo modprobe xen-gntdev"),
    ("frontend", lambda machine: another_user()(rewritten("etc/group", "root:x:0:\n")(machine)),
     "rights", "there is no group xen-audio", "sudo groupadd -r xen-audio"),
    ("frontend", another_user("tom"), "rights", "tom may not open /dev/xen/evtchn and is not in",
     "sudo usermod -aG xen-audio tom"),
    ("frontend", another_user("mira"), "rights", "does not hold in this login yet",
     "loginctl terminate-user mira"),
    ("frontend", closed, "rights", "/dev/xen/gntalloc: it does not belong to the group",
     "packaging/udev/70-xen-pv-audio.rules"),
    ("frontend", removed("usr/libexec/rtkit-daemon"), "real-time", "no real-time priority",
     "sudo apt-get install rtkit"),
    ("backend", rewritten("etc/xen-pv-audio/backend.toml", "[default]\nmicrofone = true\n"),
     "policy", "line 2: [default] microfone is unknown", "did you mean microphone?"),
    ("backend", link_to_itself, "policy", "cannot read", "correct /etc/xen-pv-audio/backend.toml"),
    ("backend", rewritten("etc/xen-pv-audio/backend.toml", "[default\n"), "policy",
     "backend.toml", "correct /etc/xen-pv-audio/backend.toml"),
    ("frontend", rewritten("etc/xen-pv-audio/frontend.toml", "quantum = 256\n"), "settings",
     "quantum is unknown", "did you mean quantum-frames?"),
    ("frontend", rewritten("etc/xen-pv-audio/frontend.toml", "rate = 0\n"), "settings",
     "whole number", "correct "),
    ("frontend", folder_linked_to_itself, "settings", "cannot read", "frontend.toml"),
]  # fmt: skip


@pytest.mark.parametrize(("half", "plant", "check", "text", "mend"), FAULTS)
def test_fault_is_found_with_the_command_that_mends_it(
    sound_machine: Machine, half: str, plant: Plant, check: str, text: str, mend: str
) -> None:
    faults = [f for f in findings(plant(sound_machine), half) if f.level is Level.WRONG]
    assert faults, "nothing was found"
    assert {found.check for found in faults} == {check}
    assert any(text in found.text for found in faults), faults
    assert all(found.mend for found in faults)
    assert any(mend in found.mend for found in faults), faults


def test_root_and_who_has_a_limit_of_its_own_need_no_more(sound_machine: Machine) -> None:
    closed(sound_machine)
    removed("usr/libexec/rtkit-daemon")(sound_machine)
    root = replace(sound_machine, user=User("root", 0, frozenset((0,)), 0))
    assert {found.level for found in findings(root)} == {Level.OK}
    limit = replace(sound_machine, user=replace(sound_machine.user, rtprio=88))
    assert "real-time" not in {f.check for f in findings(limit) if f.level is Level.WRONG}


def test_without_xenstore_and_pipewire_the_rest_is_unknown(sound_machine: Machine) -> None:
    lines = list(told(examine(sound_machine, "frontend")))
    assert any(line.startswith("unknown ") and "the cards" in line for line in lines)
    assert any(line.startswith("WRONG ") and "XDG_RUNTIME_DIR" in line for line in lines)


def test_what_somebody_else_wrote_reaches_no_terminal_as_it_is() -> None:
    lines = list(told([Finding("card", Level.WRONG, "a\x1b[31mb\u202e", "c\nd")]))
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 2
