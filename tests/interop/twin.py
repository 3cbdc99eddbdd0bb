"""Twins of the compiled extension: built from copies of pw_module/src with one line changed.

Nothing in the product can be told to be wrong on purpose. So whoever wants to see a command fail
runs the real command with a wrong extension: `Twins.make()` builds one and returns the environment
in which Python finds it first. Objects of unchanged files are shared. A change whose original is
not in the source exactly once is an error, so that an edit cannot silently make a twin true.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "pw_module" / "src"
PACKAGE = ROOT / "pw_module" / "xenpvaudio_native"


@dataclass(frozen=True)
class Change:
    file: str
    original: str
    changed: str


class Twins:
    """directory: where everything is built."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._objects: dict[Path, Path] = {}
        recipe = "import build_native, sysconfig;"
        recipe += "print(*build_native._compile_flags(), '-I' + sysconfig.get_path('include'))"
        self._flags = self._python(recipe).split()
        room = self._python("import build_native; print(build_native.PLUGIN_ROOM)")
        self._plugins = room.strip()

    def make(self, name: str, *changes: Change) -> dict[str, str]:
        """The environment with the twin `name` in it; without changes it is a true one."""
        sources = {
            str(path.relative_to(SOURCES)): path
            for path in SOURCES.glob("*/*.c")
            if path.parent.name != self._plugins
        }
        for change in changes:
            sources[change.file] = self._mutated(name, change, sources[change.file])
        objects = [self._object(self._binding())]
        objects += [self._object(path) for path in sources.values()]
        package = self._directory / name / PACKAGE.name
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        libraries = subprocess.check_output(["pkg-config", "--libs", "libpipewire-0.3"], text=True)
        self._cc(
            *("-shared", *map(str, objects), *libraries.split()),
            *("-lm", "-lpthread", "-o", str(package / "_native.abi3.so")),
        )
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

    def _binding(self) -> Path:
        """What cffi makes of the declarations."""
        path = self._directory / "_native.c"
        if not path.exists():
            recipe = "import build_native, sys;"
            self._python(recipe + "build_native.make_ffi().emit_c_code(sys.argv[1])", str(path))
        return path

    @staticmethod
    def _python(recipe: str, *arguments: str) -> str:
        """What a few lines with the project's build recipe print."""
        command = [sys.executable, "-c", recipe, *arguments]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "pw_module")}
        return subprocess.check_output(command, cwd=ROOT, env=env, text=True)

    def _object(self, source: Path) -> Path:
        if source not in self._objects:
            made = self._directory / f"{len(self._objects)}-{source.stem}.o"
            self._cc(
                "-fPIC",
                "-c",
                *self._flags,
                *("-iquote", str(SOURCES)),
                str(source),
                "-o",
                str(made),
            )
            self._objects[source] = made
        return self._objects[source]

    @staticmethod
    def _cc(*arguments: str) -> None:
        done = subprocess.run(["cc", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    @staticmethod
    def _check(env: dict[str, str], package: Path) -> None:
        """The twin is what Python finds, and not the true extension beside it."""
        code = "import xenpvaudio_native as n; print(n.__file__); print(n._native.__file__)"
        done = subprocess.check_output([sys.executable, "-c", code], env=env, text=True)
        assert all(Path(line).parent == package for line in done.splitlines()), done
