"""A private, headless PipeWire session: the demo, tests and benchmarks play through it.

D-Bus daemon, PipeWire, WirePlumber and pipewire-pulse run as plain child processes in folders of
their own, without systemd or logind, as root or not; nothing of the user's session is read or
touched. Each is started when the one before it answers, and exactly those processes are ended
again, last first. They ask the kernel to be ended with the thread that started them, so that even
`kill -9` leaves nothing.

What it is configured to is text made by testbed/pwconf.py, put beside the system's files as
drop-ins.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from xenpvaudio.errors import UnavailableError

from . import pwconf
from .keeper import KEEPER, guard

# Debian's package for each program.
PACKAGES = {
    "dbus-daemon": "dbus-daemon",
    "pipewire": "pipewire-bin",
    "pw-cli": "pipewire-bin",
    "pw-metadata": "pipewire-bin",
    "wireplumber": "wireplumber",
    "pipewire-pulse": "pipewire-pulse",
    "pactl": "pulseaudio-utils",
}

_READY_SECONDS = 20.0
_END_SECONDS = 3.0
_POLL_SECONDS = 0.01

# What of the caller's environment would lead a client out of the private session. The kept ones
# choose another build of PipeWire, and whether it believes to be in a virtual machine.
_FOREIGN_PREFIXES = ("DBUS_", "PIPEWIRE_", "PULSE_", "WIREPLUMBER_", "XDG_", "ALSA_")
_FOREIGN = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
_KEPT = (
    "PIPEWIRE_MODULE_DIR",
    "PIPEWIRE_VM",
    "PIPEWIRE_DEBUG",
    "WIREPLUMBER_DEBUG",
    "XDG_DATA_DIRS",
)

_DBUS_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class _Daemon:
    """One child process with its log."""

    def __init__(self, program: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.program = program
        self.process = process
        self.log = log

    def last_line(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "its log is empty"


def _end(process: subprocess.Popen[Any]) -> None:
    """Ends one process of ours: asked first, then forced."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class PipeWireSession:
    """A PipeWire of its own, as a context manager.

    workdir: existing or new folder for configuration, state and logs (kept).
    rate: Hz; quantum, min_quantum, max_quantum: frames at that rate.
    null_sink: True, or the description of a null sink to make.
    fragments, pulse_fragments: more configuration of PipeWire and of pipewire-pulse, as text.
    wireplumber_files: more of WirePlumber's, text by file name below its folder.
    Start it in the main thread, or in one that lives as long as the session.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        *,
        name: str = "session",
        rate: int = 48000,
        quantum: int = 1024,
        min_quantum: int = 32,
        max_quantum: int = 2048,
        null_sink: bool | str = False,
        fragments: Sequence[str] = (),
        pulse_fragments: Sequence[str] = (),
        wireplumber: bool = True,
        wireplumber_files: Mapping[str, str] | None = None,
        pulse: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.workdir = Path(workdir).resolve()
        self._programs = ["dbus-daemon", "pipewire", "pw-cli"]
        self._programs += ["wireplumber", "pw-metadata"] if wireplumber else []
        self._programs += ["pipewire-pulse", "pactl"] if pulse else []
        min_quantum = min(min_quantum, quantum)
        max_quantum = max(max_quantum, quantum)
        self._fragments = [pwconf.clock(rate, quantum, min_quantum, max_quantum)]
        if null_sink:
            description = null_sink if isinstance(null_sink, str) else "Null loudspeaker"
            self._fragments.append(pwconf.null_sink(description=description))
        self._fragments += fragments
        self._pulse_fragments = [pwconf.pulse_clock(rate, min_quantum), *pulse_fragments]
        self._wireplumber_files = {**pwconf.WIREPLUMBER_FILES, **(wireplumber_files or {})}
        self._environ = dict(os.environ if environ is None else environ)
        self.env: dict[str, str] = {}
        self.runtime_dir = Path()
        self._daemons: list[_Daemon] = []
        self._clients: list[subprocess.Popen[Any]] = []

    # -- life

    def __enter__(self) -> PipeWireSession:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> PipeWireSession:
        """Starts all daemons; returns when clients can use them. Raises UnavailableError."""
        for program in self._programs:
            self._require(program)
        try:
            self._make_folders()
            self._start_daemons()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends what was started, clients first, then the daemons from the last to the first."""
        while self._clients:
            _end(self._clients.pop())
        while self._daemons:
            _end(self._daemons.pop().process)
        if self.runtime_dir != Path():
            KEEPER.remove(self.runtime_dir)
            self.runtime_dir = Path()

    def check(self) -> None:
        """Raises UnavailableError if one of the daemons has ended."""
        for daemon in self._daemons:
            status = daemon.process.poll()
            if status is not None:
                raise UnavailableError(
                    f"{self.name}: {daemon.program} ended with status {status}: "
                    f"{daemon.last_line()}",
                    hint=f"its log is {daemon.log}",
                )

    # -- clients

    def popen(self, args: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """subprocess.Popen inside the session; it is ended with the session at the latest."""
        process = subprocess.Popen(args, env={**self.env, **options.pop("env", {})}, **options)
        self._clients.append(process)
        return process

    def run(self, args: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """subprocess.run inside the session."""
        env = {**self.env, **options.pop("env", {})}
        return subprocess.run(args, env=env, check=options.pop("check", True), **options)

    def pids(self) -> dict[str, int]:
        """The process id of each daemon that was started, by program."""
        return {daemon.program: daemon.process.pid for daemon in self._daemons}

    # -- how it starts

    def _require(self, program: str) -> None:
        if not shutil.which(program, path=self._environ.get("PATH")):
            raise UnavailableError(
                f"{self.name}: the program {program} is missing",
                hint=f"apt install {PACKAGES[program]}",
            )

    def _make_folders(self) -> None:
        # Sockets need short paths (108 bytes with the terminating 0), a workdir may have a long
        # one.
        self.runtime_dir = KEEPER.keep(Path(tempfile.mkdtemp(prefix="xpa-")))
        env = {
            key: text
            for key, text in self._environ.items()
            if key in _KEPT or (key not in _FOREIGN and not key.startswith(_FOREIGN_PREFIXES))
        }
        for key, folder in (
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_DATA_HOME", "data"),
            ("HOME", "home"),
        ):
            path = self.workdir / folder
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            env[key] = str(path)
        # The system bus is looked for by module-rt and others: let them fail at once, on this bus.
        bus = f"unix:path={self.runtime_dir}/bus"
        env["XDG_RUNTIME_DIR"] = str(self.runtime_dir)
        env["DBUS_SESSION_BUS_ADDRESS"] = env["DBUS_SYSTEM_BUS_ADDRESS"] = bus
        env["PULSE_SERVER"] = f"unix:{self.runtime_dir}/pulse/native"
        self.env = env

        config = self.workdir / "config"
        shutil.rmtree(config)
        _write(self.workdir / "dbus.conf", _DBUS_CONFIG.format(socket=self.runtime_dir / "bus"))
        for program, fragments in (
            ("pipewire", self._fragments),
            ("pipewire-pulse", self._pulse_fragments),
        ):
            for number, fragment in enumerate(fragments):
                name = f"pipewire/{program}.conf.d/{number:02}-session.conf"
                _write(config / name, fragment)
        for file, content in self._wireplumber_files.items():
            _write(config / "wireplumber" / file, content)

    def _starts(self) -> dict[str, tuple[list[str], Callable[[], bool]]]:
        """By program, in order: its command, and whether it answers."""
        starts: dict[str, tuple[list[str], Callable[[], bool]]] = {
            "dbus-daemon": (
                [
                    "dbus-daemon",
                    f"--config-file={self.workdir}/dbus.conf",
                    "--nofork",
                    "--nosyslog",
                ],
                lambda: self._accepts("bus"),
            ),
            "pipewire": (
                ["pipewire"],
                lambda: self._accepts("pipewire-0") and self._answers(["pw-cli", "info", "0"]),
            ),
            # It is up when it exports the metadata object that holds the default devices.
            "wireplumber": (
                ["wireplumber"],
                lambda: self._answers(["pw-metadata", "-n", "default", "0"], 'Found "default"'),
            ),
            "pipewire-pulse": (
                ["pipewire-pulse"],
                lambda: self._accepts("pulse/native") and self._answers(["pactl", "info"]),
            ),
        }
        return {program: starts[program] for program in starts if program in self._programs}

    def _start_daemons(self) -> None:
        for command, ready in self._starts().values():
            self._start(command, ready)

    def restart(self, *programs: str) -> None:
        """Those daemons have ended, or are killed now, and are started again in their place."""
        for daemon in [daemon for daemon in self._daemons if daemon.program in programs]:
            daemon.process.kill()
            daemon.process.wait()
            self._daemons.remove(daemon)
        for program, (command, ready) in self._starts().items():
            if program in programs:
                self._start(command, ready)

    def _start(self, command: list[str], ready: Callable[[], bool]) -> None:
        program = command[0]
        log = self.workdir / f"{program}.log"
        # setpriv becomes the program: same process id. A new session: Ctrl-C at the terminal is
        # ours to handle, the daemons end in order.
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*guard(), *command],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._daemons.append(_Daemon(program, process, log))
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{self.name}: {program} did not answer within {_READY_SECONDS:.0f} s: "
                    f"{self._daemons[-1].last_line()}",
                    hint=f"its log is {log}",
                )
            time.sleep(_POLL_SECONDS)

    def _accepts(self, name: str) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.runtime_dir / name))
            except OSError:
                return False
        return True

    def _answers(self, command: list[str], expected: str = "") -> bool:
        try:
            done = self.run(command, capture_output=True, text=True, check=False, timeout=2.0)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0 and expected in done.stdout


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
