"""One version number, wherever one is written."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import xenpvaudio

ROOT = Path(__file__).resolve().parents[2]


def python_project() -> str:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(content["project"]["version"])


def first(pattern: str, path: str) -> str:
    """The first that stands there: both change logs begin with the newest."""
    found = re.search(pattern, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    assert found, path
    return found[1]


def command_line() -> str:
    command = [sys.executable, "-m", "xenpvaudio", "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[1]


def test_all_versions_are_one() -> None:
    (yocto,) = (ROOT / "packaging" / "yocto").glob("xen-pv-audio_*.bb")
    found = {
        "the package": xenpvaudio.__version__,
        "--version": command_line(),
        "CHANGELOG": first(r"^## (\S+)", "CHANGELOG.md"),
        "Debian": first(r"^xen-pv-audio \(([^)]*)\)", "packaging/debian/changelog"),
        "RPM": first(r"^Version: +(\S+)$", "packaging/rpm/xen-pv-audio.spec"),
        "RPM's changes": first(r"> - (\S+)-1$", "packaging/rpm/xen-pv-audio.spec"),
        "Arch": first(r"^pkgver=(\S+)$", "packaging/arch/PKGBUILD"),
        "NixOS": first(r'^  version = "(\S+)";$', "packaging/nixos/package.nix"),
        "Yocto": yocto.stem.rpartition("_")[2],
    }
    assert found == dict.fromkeys(found, python_project())


@pytest.mark.parametrize("path", ["CHANGELOG.md", "packaging/debian/changelog"])
def test_no_version_stands_twice_in_a_change_log(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    versions = re.findall(r"^(?:## |xen-pv-audio \()(\d[^\s)]*)", text, re.MULTILINE)
    assert versions and len(versions) == len(set(versions))
