"""The recipe of the Debian packages: what it installs is there, and says what the rest says. What
the packages do is seen in `make install-test`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from roots.install import CONTROL, difference, names, snapshot

ROOT = Path(__file__).resolve().parents[3]
PACKAGING = ROOT / "packaging"
DEBIAN = PACKAGING / "debian"
# Made while the packages are built.
MADE = {
    "debian/completions/xen-pv-audio",
    "debian/completions/_xen-pv-audio",
    "usr/bin/xen-pv-audio",
    "usr/lib/python3*",
    "usr/lib/*/alsa-lib",
}
SCRIPTS = sorted(
    path for path in DEBIAN.glob("*.p*") if path.suffix in (".postinst", ".prerm", ".postrm")
)
# What builds the packages, and those of other systems.
BUILD = {"__pycache__", "arch", "debian", "nixos", "rpm", "yocto"}
# The files that belong to one place, and how the page of the manual steps knows them.
OF_THE_FRONTEND = ("modprobe.d", "pipewire")


def installed(package: str, kind: str = "install") -> dict[str, str]:
    """Sources of a package's list, and where each goes."""
    lines = (DEBIAN / f"xen-pv-audio-{package}.{kind}").read_text(encoding="utf-8").splitlines()
    return {line.split()[0]: [*line.split(), ""][1] for line in lines}


@pytest.mark.parametrize("file", sorted(p.name for p in DEBIAN.iterdir() if p.is_file()))
def test_what_is_installed_is_there(file: str) -> None:
    kind = file.rpartition(".")[2]
    if kind in ("install", "docs", "manpages", "examples"):
        package = file.removeprefix("xen-pv-audio-").rpartition(".")[0]
        for source in set(installed(package, kind)) - MADE:
            assert list(ROOT.glob(source)), source


def test_each_file_of_packaging_is_in_a_package() -> None:
    taken = {s for p in ("alsa", "common", "frontend", "backend") for s in installed(p)}
    taken |= set(installed("backend", "examples")) | set(installed("common", "docs"))
    taken |= set(installed("common", "manpages"))
    rules = (DEBIAN / "rules").read_text(encoding="utf-8")
    for path in (path for path in PACKAGING.rglob("*") if path.is_file()):
        name = path.relative_to(ROOT).as_posix()
        if path.parent == PACKAGING or path.relative_to(PACKAGING).parts[0] in BUILD:
            continue
        fits = any(name == t or name.startswith(f"{t}/") or path.match(t) for t in taken)
        assert fits or name in rules, name


def test_only_the_frontends_package_keeps_the_kernels_driver_out_and_changes_pipewire() -> None:
    for package in ("common", "backend"):
        for source in installed(package):
            assert not source.startswith(tuple(f"packaging/{n}" for n in OF_THE_FRONTEND))
    frontend = installed("frontend")
    assert frontend["packaging/modprobe.d/xen-pv-audio.conf"] == "usr/lib/modprobe.d"


def test_nothing_of_a_package_is_in_etc() -> None:
    for package in ("common", "frontend", "backend"):
        for target in installed(package).values():
            assert target == "" or target.startswith("usr/"), target


def test_no_package_pulls_pulseaudio_onto_a_guest() -> None:
    control = CONTROL.read_text(encoding="utf-8")
    assert not {"pulseaudio", "python3-pulsectl"} & set(names(control, "Depends", "Recommends"))
    assert "python3-pulsectl" in names(control, "Suggests")


def test_names_of_a_field_are_told_from_versions_and_substitutions() -> None:
    text = (
        "Depends:\n a (>= 1),\n ${misc:Depends},\n xen-pv-audio-common (= 2), b | z\nSuggests: c\n"
    )
    assert names(text, "Depends") == ["a", "b"]
    assert names(text, "Depends", "Suggests") == ["a", "b", "c"]


def test_build_dependencies_are_those_that_make_installs() -> None:
    script = (PACKAGING / "setup-debian.sh").read_text(encoding="utf-8")
    known = set(re.findall(r"[a-z0-9][a-z0-9.+-]+", script))
    wanted = set(names(CONTROL.read_text(encoding="utf-8"), "Build-Depends"))
    virtual = {name for name in wanted if name.startswith(("dh-sequence-", "debhelper-compat"))}
    assert wanted - virtual <= known


def test_set_up_waits_for_an_apt_that_is_at_work(tmp_path: Path) -> None:
    called = tmp_path / "called"
    for name, body in {
        "apt-get": f'echo "$*" >> {called}',
        "dpkg-query": "echo installed base-files",
        "id": "echo 0",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run([PACKAGING / "setup-debian.sh", "demo"], env=env, check=True)
    update, install = called.read_text(encoding="utf-8").splitlines()
    assert update == "update -q"
    assert install.startswith("install ") and "DPkg::Lock::Timeout=300" in install


def test_group_is_that_of_the_udev_rules() -> None:
    text = (PACKAGING / "sysusers.d" / "xen-pv-audio.conf").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    assert [words for words in lines if words[0] == "g"] == [["g", "xen-audio", "-"]]
    assert ["m", "xen-pv-audio", "xen-audio"] in lines
    rules = (PACKAGING / "udev" / "70-xen-pv-audio.rules").read_text(encoding="utf-8")
    assert set(re.findall(r'GROUP="([^"]+)"', rules)) == {"xen-audio"}


@pytest.mark.parametrize("half", ["frontend", "backend"])
def test_unit_is_notified_watched_and_for_members_of_the_group(half: str) -> None:
    folder = PACKAGING / "systemd"
    unit = (folder / "user" / f"xen-pv-audio-{half}.service").read_text(encoding="utf-8")
    for line in ("Type=notify", "WatchdogSec=60", "ConditionGroup=xen-audio"):
        assert f"\n{line}\n" in unit, line
    preset = f"90-xen-pv-audio-{half}.preset"
    assert (folder / "user-preset" / preset).read_text() == f"enable xen-pv-audio-{half}.service\n"


@pytest.mark.parametrize("half", ["frontend", "backend"])
def test_nothing_enables_the_systems_unit_of_a_half(half: str) -> None:
    preset = PACKAGING / "systemd" / "system-preset" / f"90-xen-pv-audio-{half}.preset"
    assert preset.read_text() == f"disable xen-pv-audio-{half}.service\n"
    name = f"xen-pv-audio-{half}"
    line = f"dh_installsystemd --package={name} --name={name} $(ASLEEP)"
    rules = (DEBIAN / "rules").read_text(encoding="utf-8")
    assert line in rules and "\nASLEEP = --no-enable --no-start --no-stop-on-upgrade\n" in rules


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_of_a_package_parses_and_has_debhelpers_part(path: Path) -> None:
    subprocess.run(["sh", "-n", str(path)], check=True)
    assert "\n#DEBHELPER#\n" in path.read_text(encoding="utf-8")


def test_modules_that_are_loaded_at_once_are_those_of_each_boot() -> None:
    script = (DEBIAN / "xen-pv-audio-common.postinst").read_text(encoding="utf-8")
    found = re.search(r"for module in (.*); do", script)
    lines = (PACKAGING / "modules-load.d" / "xen-pv-audio.conf").read_text(encoding="utf-8")
    assert found and found[1].split() == [x for x in lines.splitlines() if not x.startswith("#")]


def test_what_differs_between_two_looks_at_a_root_is_told(tmp_path: Path) -> None:
    for name in ("etc", "var/log", "usr"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("etc/changed", "usr/gone", "usr/same"):
        (tmp_path / name).write_text(name)
    before = snapshot(tmp_path)
    (tmp_path / "etc/changed").write_text("otherwise")
    (tmp_path / "usr/gone").unlink()
    (tmp_path / "usr/link").symlink_to("/nowhere")
    (tmp_path / "var/log/dpkg.log").write_text("apt's own")
    (tmp_path / "usr/same").chmod(0o600)
    assert difference(before, snapshot(tmp_path)) == [
        "etc/changed",
        "usr/gone",
        "usr/link",
        "usr/same",
    ]
