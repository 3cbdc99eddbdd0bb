"""A real PulseAudio server as a host's, beside whatever is installed here: Debian's package is
unpacked, not installed, since it conflicts with pipewire-pulse."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from interop.xenstored import run
from xenpvaudio.testbed.keeper import KEEPER, guard

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache" / "pulseaudio"
PACKAGE = "pulseaudio"
PROGRAM = Path("usr/bin/pulseaudio")
# Those of the same name that the system has are the right ones.
HERE_ALREADY = ("libc6", "libgcc-s1", "libstdc++6", "libpulse0", "libglib2.0-0")
START_SEC = 20.0
FOREIGN = ("PULSE_", "PIPEWIRE_", "DBUS_", "XDG_", "ALSA_")


def packages() -> list[str]:
    """It, and the libraries that it needs."""
    told = subprocess.check_output(["apt-cache", "depends", "--important", PACKAGE], text=True)
    needed = re.findall(r"^ *\|?Depends: (lib[\w.+-]+)$", told, re.MULTILINE)
    return [PACKAGE, *(name for name in dict.fromkeys(needed) if name not in HERE_ALREADY)]


def installed() -> Path:
    """The folder it is unpacked in; downloads once. Skips where there is no apt."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("no apt-get here: Debian's PulseAudio cannot be had")
    if (CACHE / PROGRAM).exists():
        return CACHE
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as temporary:
        folder = Path(temporary)
        run("apt-get", "download", "-q", *packages(), cwd=folder)
        for package in folder.glob("*.deb"):
            run("dpkg-deb", "-x", str(package), str(folder / "root"))
        os.replace(folder / "root", CACHE)
    return CACHE


def version() -> str:
    """Such as 16.1."""
    told = subprocess.run(
        [str(installed() / PROGRAM), "--version"],
        env={**os.environ, **libraries()},
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.split()[-1].partition("-")[0]


def libraries() -> dict[str, str]:
    """Where its own are."""
    base = installed() / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    folders = [base, base / "pulseaudio", modules()]
    return {"LD_LIBRARY_PATH": ":".join(map(str, folders))}


def modules() -> Path:
    (found,) = (installed() / "usr" / "lib").glob("**/pulse-*/modules")
    return found


def on_the_path(folder: Path, path: str) -> dict[str, str]:
    """The variable for who looks for the program there; it is made in `folder`."""
    place = folder / "bin"
    place.mkdir()
    script = place / PROGRAM.name
    found = " ".join(f"{key}={shlex.quote(text)}" for key, text in libraries().items())
    command = shlex.join([str(installed() / PROGRAM), "-p", str(modules())])
    script.write_text(f'#!/bin/sh\n{found} exec {command} "$@"\n')
    script.chmod(0o755)
    return {"PATH": f"{place}:{path}"}


class PulseAudio:
    """A server with `modules` (such as "module-null-sink sink_name=a") as a context manager; `env`
    is for its clients. `environ`: more of its own."""

    def __init__(
        self, folder: Path, modules: Sequence[str], environ: dict[str, str] | None = None
    ) -> None:
        self._folder = folder / "pulse-home"
        self._folder.mkdir(mode=0o700)
        self._modules = modules
        self.runtime = KEEPER.keep(Path(tempfile.mkdtemp(prefix="xpa-pa-")))
        kept = {key: text for key, text in os.environ.items() if not key.startswith(FOREIGN)}
        self.env = {
            **kept,
            "HOME": str(self._folder),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "PULSE_RUNTIME_PATH": str(self.runtime),
            "PULSE_SERVER": f"unix:{self.runtime}/native",
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.runtime}/no-bus",
            "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.runtime}/no-bus",
            **(environ or {}),
        }
        self._process: subprocess.Popen[Any] | None = None

    def __enter__(self) -> PulseAudio:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        KEEPER.remove(self.runtime)

    def start(self) -> None:
        command = [str(installed() / PROGRAM), "-n", "--daemonize=no", "--exit-idle-time=-1"]
        command += ["--use-pid-file=no", "--log-target=stderr", "-p", str(modules())]
        socket = f"module-native-protocol-unix auth-anonymous=1 socket={self.runtime}/native"
        for module in (socket, *self._modules):
            command += ["-L", module]
        environ = {key: text for key, text in self.env.items() if key != "PULSE_SERVER"}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*guard(), *command],
                env={**environ, **libraries()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SEC
        while self.pactl("info", check=False) == "":
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def pactl(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["pactl", *words], env=self.env, capture_output=True, text=True, check=False, timeout=20
        )
        assert not check or done.returncode == 0, done.stderr + self.log
        return done.stdout

    def kill(self) -> None:
        """As if it had crashed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        (self.runtime / "native").unlink(missing_ok=True)
