"""A guest without PipeWire: frontend and backend as processes on the simulated hypervisor, and a
place for ALSA programs, whose only devices are the plugin's.

What the host heard is in the backend's recording, begun anew each time that the stream is opened.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from interop.sound import LIMIT_SEC, eventually
from xenpvaudio.control.client import status_all
from xenpvaudio.errors import ConfigError, UnavailableError
from xenpvaudio.sound.wav import read_wav
from xenpvaudio.testbed.keeper import KEEPER, guard
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = ROOT / "pw_module" / "xenpvaudio_native" / "libasound_module_pcm_xenpv.so"
CTL_PLUGIN = PLUGIN.with_name("libasound_module_ctl_xenpv.so")
SNIPPET = ROOT / "packaging" / "alsa" / "50-xen-pv-audio.conf"
# What alsa-lib does by itself with a plugin that is installed.
LOAD = f'pcm_type.xenpv {{ lib "{PLUGIN}" }}\nctl_type.xenpv {{ lib "{CTL_PLUGIN}" }}\n'
GUEST = 1


class AlsaBed:
    """`output`: the backend's; `host_environ`: what it runs in."""

    def __init__(
        self,
        *,
        output: str = "null,quantum=256",
        nodes: Mapping[str, str] | None = None,
        frontend_args: Sequence[str] = (),
        host_environ: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = KEEPER.keep(Path(tempfile.mkdtemp(prefix="xpa-alsa-")))
        self.recordings = self.directory / "heard"
        self.recordings.mkdir()
        self._output = output
        self._frontend_args = frontend_args
        self._host_environ = os.environ if host_environ is None else host_environ
        sim = self.directory / "xen"
        self.socket = sim / f"xen-pv-audio-alsa-{GUEST}.sock"
        self.hypervisor = start_hypervisor(sim)
        self.toolstack = Toolstack(str(sim))
        self.toolstack.create_domain(GUEST, "guest")
        load = self.directory / "load.conf"
        load.write_text(LOAD)
        paths = ("/usr/share/alsa/alsa.conf", str(SNIPPET), str(load))
        foreign = ("PIPEWIRE_", "PULSE_", "ALSA_")
        self.env = {key: text for key, text in os.environ.items() if not key.startswith(foreign)}
        self.env |= {
            "ALSA_CONFIG_PATH": ":".join(paths),
            "XEN_PV_AUDIO_ALSA_SOCKET": str(self.socket),
            "HOME": str(self.directory),
        }
        self.start_backend()
        self.toolstack.attach_vsnd(GUEST, 0, nodes or card_nodes())
        self.start_frontend()

    def _half(self, role: str, domid: int, *arguments: str) -> subprocess.Popen[Any]:
        environ = os.environ if domid else self._host_environ
        with (self.directory / f"{role}.log").open("ab") as log:
            return subprocess.Popen(
                [*guard(), sys.executable, "-m", "xenpvaudio", role, *arguments],
                env={**environ, SIM_VARIABLE: f"{self.directory / 'xen'}:{domid}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_backend(self) -> None:
        output = ("--allow-microphone", "--output", self._output)
        self.backend = self._half("backend", 0, *output, "--record", str(self.recordings))

    def start_frontend(self) -> None:
        arguments = ("--serve", "alsa", "--wait", *self._frontend_args)
        self.frontend = self._half("frontend", GUEST, *arguments)
        eventually(self._listens, f"nobody listens: {self.log('frontend')}")

    def _listens(self) -> bool:
        """A dead frontend leaves its socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            try:
                connection.connect(str(self.socket))
            except OSError:
                return False
            return True

    def log(self, role: str) -> str:
        path = self.directory / f"{role}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def status(self) -> dict[str, Any]:
        """What `xen-pv-audio status` is told of the frontend."""
        place = {SIM_VARIABLE: f"{self.directory / 'xen'}:{GUEST}"}
        (half,) = status_all(place, "frontend")
        return dict(half)

    def streams(self) -> dict[str, str]:
        """What each of them does, by its path; empty while the frontend begins."""
        try:
            cards = self.status()["cards"]
        except UnavailableError:
            return {}
        reports = [stream for card in cards for stream in card["streams"]]
        return {report["path"]: report["state"] for report in reports}

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen([*command], env=self.env, stdin=subprocess.DEVNULL, **options)

    def run(self, *command: str, sec: float = LIMIT_SEC) -> str:
        """Everything that it said; AssertionError with that if it fails."""
        done = subprocess.run(
            [*command],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=sec,
        )
        said = f"{command}: {done.stdout}\n{self.log('frontend')}{self.log('backend')}"
        assert done.returncode == 0, said
        return str(done.stdout)

    def heard(self) -> bytes:
        """The samples that the host played since the stream was opened last, once it is closed."""

        def whole() -> bytes:
            for path in self.recordings.iterdir():
                with contextlib.suppress(ConfigError):  # its header is written at the end
                    return read_wav(path).data
            return b""

        return bytes(eventually(whole, f"no recording: {self.log('backend')}"))

    def stop(self) -> None:
        for half in (self.frontend, self.backend):
            half.terminate()
        for half in (self.frontend, self.backend):
            try:
                half.wait(LIMIT_SEC)
            except subprocess.TimeoutExpired:
                half.kill()
                half.wait()
        self.toolstack.close()
        self.hypervisor.stop()
        KEEPER.remove(self.directory)


@contextlib.contextmanager
def alsa_bed(**options: Any) -> Iterator[AlsaBed]:
    bed = AlsaBed(**options)
    try:
        yield bed
    finally:
        bed.stop()


def s16(samples: array[float]) -> bytes:
    """As write_noise() puts them into a file."""
    return array("h", [round(sample * 32768) for sample in samples]).tobytes()


def at(points: list[list[int]], frame: float) -> float:
    """The time of a frame, nsec, on the line through the two points around it."""
    i = min(max(bisect_left(points, [int(frame)]), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[i - 1], points[i]
    return y0 + (y1 - y0) * (frame - x0) / (x1 - x0)
