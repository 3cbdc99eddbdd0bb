"""Twins of the compiled extension: built from copies of pw_module/src with one line changed.

Nothing in the product can be told to be wrong on purpose. So whoever wants to see a command fail
runs the real command with a wrong extension: `Twins.make()` builds one and returns the environment
in which Python finds it first. Objects of unchanged files are shared (objects.py). A change whose
original is not in the source exactly once is an error, so that an edit cannot silently make a twin
true.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from objects import FOLDER, compiled, run

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "pw_module" / "src"
PACKAGE = ROOT / "pw_module" / "xenpvaudio_native"


@dataclass(frozen=True)
class Change:
    file: str
    original: str
    changed: str


@cache
def _recipe(lines: str, *arguments: str) -> str:
    """What a few lines with the project's build recipe print."""
    command = [sys.executable, "-c", "import build_native, sys, sysconfig; " + lines, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "pw_module")}
    return subprocess.check_output(command, cwd=ROOT, env=env, text=True)


@cache
def _binding() -> Path:
    """What cffi makes of the declarations; always at the same place, since the object names it."""
    path = FOLDER / "_native.c"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as place:
        made = Path(place) / path.name
        _recipe("build_native.make_ffi().emit_c_code(sys.argv[1])", str(made))
        made.replace(path)
    return path


@cache
def _object(source: Path) -> Path:
    """Sources do not change while tests run, and each twin's are in a folder of its own."""
    include = "'-I' + sysconfig.get_path('include')"
    flags = _recipe(f"print(*build_native._compile_flags(), {include})").split()
    return compiled(source, ["cc", "-fPIC", *flags], [SOURCES])


class Twins:
    """directory: where everything is built."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def make(self, name: str, *changes: Change) -> dict[str, str]:
        """The environment with the twin `name` in it; without changes it is a true one."""
        sources = {
            str(path.relative_to(SOURCES)): path
            for path in SOURCES.glob("*/*.c")
            if path.parent.name != _recipe("print(build_native.PLUGIN_ROOM)").strip()
        }
        for change in changes:
            sources[change.file] = self._mutated(name, change, sources[change.file])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(_object, [_binding(), *sources.values()]))
        package = self._directory / name / PACKAGE.name
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        libraries = subprocess.check_output(["pkg-config", "--libs", "libpipewire-0.3"], text=True)
        linked = [*map(str, objects), *libraries.split(), "-lm", "-lpthread"]
        run(["cc", "-shared", *linked, "-o", str(package / "_native.abi3.so")])
        found = [str(package.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found))}
        self._check(env, package)
        return env

    def _mutated(self, name: str, change: Change, source: Path) -> Path:
        text = source.read_text()
        count = text.count(change.original)
        if count != 1:
            pytest.fail(
                f"{change.original!r} is {count} times in {change.file}: update the twin",
                pytrace=False,
            )
        mutated = self._directory / f"{name}-src" / change.file
        mutated.parent.mkdir(parents=True, exist_ok=True)
        mutated.write_text(text.replace(change.original, change.changed))
        return mutated

    @staticmethod
    def _check(env: dict[str, str], package: Path) -> None:
        """The twin is what Python finds, and not the true extension beside it."""
        code = "import xenpvaudio_native as n; print(n.__file__); print(n._native.__file__)"
        done = subprocess.check_output([sys.executable, "-c", code], env=env, text=True)
        assert all(Path(line).parent == package for line in done.splitlines()), done
