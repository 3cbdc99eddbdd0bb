"""netjack2: two JACK servers, the guest's driven by the host's over 127.0.0.1, the latter with a
dummy device. PipeWire speaks it, too, from 0.3.72 on; this is the original, so that any version of
PipeWire can be measured beside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .side import RATE, NotHereError, Side

PROGRAMS = ("jackd", "jack_load", "jack_metro", "jack_connect", "jack_lsp")
APPEAR_SEC = 20.0
TEMPO = "120"
# Its ports are there a moment after it has started; it becomes the process that is ended.
PLAY = f"""
(until jack_connect metro:{TEMPO}_bpm system:playback_1 2>/dev/null; do sleep 0.1; done
 jack_connect metro:{TEMPO}_bpm system:playback_2) >/dev/null 2>&1 &
exec jack_metro --bpm {TEMPO} >/dev/null 2>&1
"""


class Server:
    """One jackd, by its name in the environment of its clients."""

    def __init__(self, name: str, folder: Path, *arguments: str) -> None:
        self.env = {**os.environ, "JACK_DEFAULT_SERVER": name, "JACK_NO_START_SERVER": "1"}
        with (folder / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["jackd", "--name", name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        return done.stdout

    def wait_for(self, port: str) -> None:
        until = time.monotonic() + APPEAR_SEC
        while port not in self.run("jack_lsp").splitlines():
            if self.process.poll() is not None or time.monotonic() > until:
                raise NotHereError(f"netjack2: {port} does not appear")
            time.sleep(0.1)

    def popen(self, args: object, **options: Any) -> subprocess.Popen[Any]:
        """An application of its own kind plays, whatever is asked for."""
        environ: Mapping[str, str] = {**self.env, **options.pop("env", {})}
        return subprocess.Popen(["sh", "-c", PLAY], env=environ, **options)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextmanager
def netjack2(folder: Path, quantum: int) -> Iterator[Side]:
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise NotHereError(f"no {missing[0]}: apt install jackd2")
    number = os.getpid()
    dummy = ["-d", "dummy", "--rate", str(RATE), "--period", str(quantum)]
    host = Server(f"bench-host-{number}", folder, *dummy)
    try:
        host.wait_for("system:playback_1")
        host.run("jack_load", "netmanager", "-i", "-c")
        net = ["-d", "net", "-a", "127.0.0.1", "-C", "2", "-P", "2", "-n", "guest", "-l", "1"]
        guest = Server(f"bench-guest-{number}", folder, *net)
        try:
            guest.wait_for("system:playback_1")
            processes = {"guest's jackd": guest.process.pid, "host's jackd": host.process.pid}
            yield Side("netjack2 pair", guest, "", processes, {})
        finally:
            guest.stop()
    finally:
        host.stop()
