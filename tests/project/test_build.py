"""The build says in one line what a machine lacks, and makes one wheel for every Python."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import xenpvaudio

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "pw_module" / "build_native.py"


def check_machine(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(RECIPE)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def compiler_without(header: str, folder: Path) -> str:
    """A compiler that answers as where `header` is not installed."""
    real = sysconfig.get_config_var("CC") or "cc"
    script = folder / "cc-without"
    script.write_text(
        "#!/bin/sh\n"
        "source=$(cat)\n"
        f'case "$source" in *"<{header}>"*) exit 1 ;; esac\n'
        f'printf "%s\\n" "$source" | {real} "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


def test_build_finds_all_it_needs_here() -> None:
    done = check_machine()
    assert (done.returncode, done.stderr) == (0, "")


def test_missing_pkg_config_is_one_line_with_its_package() -> None:
    done = check_machine(PKG_CONFIG="pkg-config-that-is-not-there")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "apt install pkg-config" in done.stderr


def test_missing_pipewire_headers_are_one_line_with_their_package(tmp_path: Path) -> None:
    done = check_machine(PKG_CONFIG_LIBDIR=str(tmp_path), PKG_CONFIG_PATH="")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "apt install libpipewire-0.3-dev" in done.stderr


def test_pipewire_that_is_too_old_is_named_with_its_version(tmp_path: Path) -> None:
    (tmp_path / "libpipewire-0.3.pc").write_text(
        "Name: old\nDescription: old\nVersion: 0.3.19\nLibs:\nCflags:\n"
    )
    done = check_machine(PKG_CONFIG_LIBDIR=str(tmp_path), PKG_CONFIG_PATH="")
    assert done.returncode == 3
    assert "found 0.3.19" in done.stderr


def test_missing_compiler_is_one_line_with_its_package() -> None:
    done = check_machine(CC="cc-that-is-not-there")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "apt install gcc" in done.stderr


@pytest.mark.parametrize(
    ("header", "package"),
    [
        ("xen/io/sndif.h", "libxen-dev"),
        ("xen/gntalloc.h", "linux-libc-dev"),
        ("pulse/pulseaudio.h", "libpulse-dev"),
        ("alsa/asoundlib.h", "libasound2-dev"),
        ("Python.h", "python3-dev"),
        ("errno.h", "libc6-dev"),
    ],
)
def test_missing_header_is_one_line_with_its_package(
    header: str, package: str, tmp_path: Path
) -> None:
    done = check_machine(CC=compiler_without(header, tmp_path))
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert f"apt install {package} " in done.stderr


def run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source archive, as a package index would do it."""
    out = tmp_path_factory.mktemp("wheel")
    setup = [sys.executable, "-W", "ignore", "setup.py", "-q", "egg_info", "-e", str(out)]
    run([*setup, "sdist", "-d", str(out)])
    (archive,) = out.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps"]
    run([*pip, "--no-build-isolation", "-w", str(out), str(archive)])
    (made,) = out.glob("*.whl")
    return made


def test_wheel_serves_every_python_from_3_11(wheel: Path) -> None:
    assert "-cp311-abi3-linux_" in wheel.name


def test_wheel_holds_both_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "xenpvaudio",
        "xenpvaudio_native",
    }
    assert "xenpvaudio_native/_native.abi3.so" in names
    assert {"xenpvaudio/py.typed", "xenpvaudio_native/py.typed"} <= set(names)


def test_wheel_installs_with_pip_and_its_program_runs(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own; what it needs besides is not fetched, but shown from here."""
    place = tmp_path / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", str(place)])
    python = place / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    run([*command, "install", "-q", "--no-index", "--no-deps", str(wheel)])
    shown = tmp_path / "shown"
    shown.mkdir()
    for name in ("cffi", "_cffi_backend", "pyxs"):
        found = importlib.util.find_spec(name)
        assert found is not None and found.origin is not None
        source = Path(found.origin)
        source = source.parent if source.stem == "__init__" else source
        (shown / source.name).symlink_to(source)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(shown)}
    program = place / "bin" / "xen-pv-audio"
    told = subprocess.run([program, "--version"], env=env, capture_output=True, text=True)
    assert told.stdout == f"xen-pv-audio {xenpvaudio.__version__}\n", told.stderr
    where = "import xenpvaudio_native._native as native; print(native.__file__)"
    told = subprocess.run([python, "-c", where], env=env, capture_output=True, text=True)
    assert told.stdout.startswith(str(place)), told.stdout + told.stderr
