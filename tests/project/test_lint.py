"""The linters, run as tests: style, types, C layout. Compiler warnings are errors in the build."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def check(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing() -> None:
    check(sys.executable, "-m", "ruff", "check", "--no-cache", ".")


def test_types_are_strictly_consistent() -> None:
    check(sys.executable, "-m", "mypy")


def test_c_sources_are_formatted() -> None:
    program = shutil.which("clang-format")
    if program is None:
        pytest.fail("clang-format is missing: apt install clang-format")
    tests = [ROOT / "tests" / room for room in ("pw_module", "bench", "fuzz")]
    places = [ROOT / "pw_module" / "src", *tests]
    files = [str(path) for place in places for path in sorted(place.rglob("*.[ch]"))]
    assert files
    check(program, "--dry-run", "--Werror", *files)


def test_shell_scripts_parse() -> None:
    check("sh", "-n", "packaging/setup-debian.sh")
    check("sh", "-n", "packaging/packages.sh")
    check("sh", "-n", "packaging/driver-domain.sh")
    check("bash", "-n", ".ci/run")
