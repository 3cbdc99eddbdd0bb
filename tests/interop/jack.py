"""jack_iodelay, the latency meter of the JACK project, run by PipeWire's libjack.

It sends tones out and finds, by their phases when they come back, how many frames the way took, to
a thousandth; and it says how many of these were told by the ports that it is connected to. In
Debian 12 the program is in the same package as the server jackd: that package is unpacked (not
installed) into .cache/jack. Later releases have it in jack-example-tools.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pytest

from aptroot import apt_alone
from xenpvaudio.testbed.session import PipeWireSession

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "jack"
PACKAGES = ("jack-example-tools", "jackd2")
PROGRAM = Path("usr/bin/jack_iodelay")
LIMIT_SEC = 30.0
"""No requirement, only a bound for a test that fails."""

_FOUND = re.compile(
    r"^ *(-?[0-9.]+) frames +-?[0-9.]+ ms total roundtrip latency\n"
    r"\textra loopback latency: (\d+) frames\n"
    r"(.*)\n",
    re.MULTILINE,
)


def run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


def _candidate() -> str:
    for package in PACKAGES:
        if re.search(r"Candidate: \d", run("apt-cache", "policy", package)):
            return package
    return ""


def program() -> Path:
    """Downloads once. Skips where there is no apt; fails where there is one that cannot."""
    if installed := shutil.which("jack_iodelay"):
        return Path(installed)
    unpacked = CACHE / PROGRAM
    if unpacked.exists():
        return unpacked
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("no apt-get here: jack_iodelay cannot be had")
    CACHE.mkdir(parents=True, exist_ok=True)
    if not (package := _candidate()):
        if os.geteuid() != 0:
            pytest.skip("apt knows no jack_iodelay, and only root may update its lists")
        with apt_alone():
            run("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
        if not (package := _candidate()):
            pytest.skip("this system's archive has no jack_iodelay")
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        folder = Path(temporary)
        run("apt-get", "download", "-q", package, cwd=folder)
        (file,) = folder.glob("*.deb")
        run("dpkg-deb", "-x", str(file), str(folder / "root"))
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / "root" / PROGRAM, unpacked)
    return unpacked


@dataclass(frozen=True)
class RoundTrip:
    """total: as measured by the tones; extra: total less what the ports told, rounded down."""

    total_frames: float
    extra_frames: int


class JackIodelay:
    """A running jack_iodelay between a sink's and a source's port, as a context manager."""

    def __init__(self, session: PipeWireSession, to_port: str, from_port: str) -> None:
        self._session = session
        self._links = (("jack_delay:out", to_port), (from_port, "jack_delay:in"))
        self._log = session.workdir / "jack_iodelay.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> JackIodelay:
        command = ["pw-jack", "stdbuf", "-oL", str(program())]
        with self._log.open("wb") as log:
            self._process = self._session.popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + LIMIT_SEC
        for output, to in self._links:
            while True:
                done = self._session.run(
                    ["pw-link", output, to], capture_output=True, text=True, check=False
                )
                if done.returncode == 0:
                    break
                assert time.monotonic() < deadline, f"{output} -> {to}: {done.stderr}{self.said()}"
                time.sleep(0.1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def found(self) -> list[RoundTrip]:
        """All that it has found so far, two a second; doubtful ones (marked ??) are left out."""
        return [
            RoundTrip(float(total), int(extra))
            for total, extra, doubt in _FOUND.findall(self.said())
            if "??" not in doubt
        ]

    def wait(self, count: int) -> list[RoundTrip]:
        """`count` more of them."""
        before = len(self.found())
        deadline = time.monotonic() + LIMIT_SEC
        while len(found := self.found()) < before + count:
            assert time.monotonic() < deadline, f"jack_iodelay finds nothing: {self.said()[-500:]}"
            time.sleep(0.2)
        return found[before:]
