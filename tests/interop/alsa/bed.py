"""A guest without PipeWire, and what its tests ask of it. What the host heard is in the backend's
recording, begun anew each time that the stream is opened.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from interop.sound import LIMIT_SEC, eventually
from xenpvaudio.control.client import status_all
from xenpvaudio.errors import ConfigError, UnavailableError
from xenpvaudio.sound.wav import read_wav
from xenpvaudio.testbed.alsa import bed as guest
from xenpvaudio.testbed.alsa.files import PLUGINS, built
from xenpvaudio.testbed.machine import GUEST_DOMID
from xenpvaudio.testbed.testbed import card_nodes

ROOT = Path(__file__).resolve().parents[3]
PLUGIN, CTL_PLUGIN = map(built, PLUGINS)


class AlsaBed(guest.AlsaBed):
    """`output`: the backend's; `host_environ`: what it runs in."""

    backend: subprocess.Popen[Any]
    frontend: subprocess.Popen[Any]

    def __init__(
        self,
        *,
        output: str = "null,quantum=256",
        nodes: Mapping[str, str] | None = None,
        frontend_args: Sequence[str] = (),
        host_environ: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            nodes or card_nodes(),
            host_environ=os.environ if host_environ is None else host_environ,
            backend_args=["--allow-microphone", "--output", output, "--record", "RECORD"],
            frontend_args=frontend_args,
        )
        self.recordings = self.directory / "heard"
        self.recordings.mkdir()
        self.replace_backend_argument("RECORD", str(self.recordings))

    def status(self) -> dict[str, Any]:
        """What `xen-pv-audio status` is told of the frontend."""
        (half,) = status_all(self.machine(GUEST_DOMID), "frontend")
        return dict(half)

    def streams(self) -> dict[str, str]:
        """What each of them does, by its path; empty while the frontend begins."""
        try:
            cards = self.status()["cards"]
        except UnavailableError:
            return {}
        reports = [stream for card in cards for stream in card["streams"]]
        return {report["path"]: report["state"] for report in reports}

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


@contextlib.contextmanager
def alsa_bed(**options: Any) -> Iterator[AlsaBed]:
    with AlsaBed(**options) as bed:
        yield bed


def s16(samples: array[float]) -> bytes:
    """As write_noise() puts them into a file."""
    return array("h", [round(sample * 32768) for sample in samples]).tobytes()


def at(points: list[list[int]], frame: float) -> float:
    """The time of a frame, nsec, on the line through the two points around it."""
    i = min(max(bisect_left(points, [int(frame)]), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[i - 1], points[i]
    return y0 + (y1 - y0) * (frame - x0) / (x1 - x0)
