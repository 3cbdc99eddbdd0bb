"""The demo's kinds of guest: each with the program that people play with there, and what is told of
its sound."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from xenpvaudio.errors import UnavailableError, XenPvAudioError

from .alsa.bed import DEVICE, AlsaBed
from .alsa.pulse import PROGRAM as PULSE_DAEMON
from .alsa.pulse import SINK as PULSE_SINK
from .alsa.pulse import PulseAudio
from .keeper import guard
from .machine import GUEST_DOMID, Machine
from .noise_player import noise
from .testbed import SINK, Testbed

Marks = list[list[int]]
"""[frame, when it was asked, when that frame is heard as it was told], nsec."""

_OPENED = re.compile(r" \(sink\): open (\S+) \d+ Hz .* period (\d+),")
"""In the frontend's log (engine/report.py)."""


class DemoGuest:
    """`bed`: the machine that it is on, not yet up. `player`: the program that plays; `converts`:
    whether samples become those of the card as to_float32() says (sound/wav.py); `maps`: whether
    channels find their places in the card by what they are, and not by their order."""

    name: ClassVar[str]
    player: ClassVar[str]
    converts: ClassVar[bool] = False
    maps: ClassVar[bool] = True
    programs: ClassVar[dict[str, str]]
    """What is needed, and Debian's package with it; more by require()."""
    variables: ClassVar[tuple[str, ...]]
    examples: ClassVar[str]
    bed: Machine

    @classmethod
    def require(cls) -> None:
        """UnavailableError for the first program that is missing."""
        for program, package in cls.programs.items():
            if not shutil.which(program):
                raise UnavailableError(f"{program} is missing", hint=f"apt install {package}")

    @contextmanager
    def up(self) -> Iterator[str]:
        """While it is; the name of what is there to play to."""
        raise NotImplementedError

    def check(self) -> None:
        """UnavailableError if something that it needs has ended."""
        self.bed.check()

    def play(self, file: Path, **options: Any) -> subprocess.Popen[Any]:
        raise NotImplementedError

    def probe(self, frames: int) -> tuple[Marks, bytes] | None:
        """Plays so much noise: what was told meanwhile, and its samples, float32; None: this kind
        is not asked."""
        return None

    def _probe(self, module: str, frames: int, *words: str) -> tuple[Marks, bytes]:
        """By a program of ours that plays and asks."""
        form = ("--rate", str(self.bed.rate), "--channels", str(self.bed.channels))
        done = subprocess.run(
            [*guard(), sys.executable, "-m", module, *words, *form, "--frames", str(frames)],
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise XenPvAudioError(f"the probe failed: {lines[-1].removeprefix('xen-pv-audio: ')}")
        return json.loads(done.stdout)["marks"], noise(frames, self.bed.channels).tobytes()

    def opened(self) -> tuple[str, int]:
        """The format and the period, frames, of what was played last; "" and 0 if nothing was."""
        found = _OPENED.findall(self.bed.log("frontend"))
        return (found[-1][0], int(found[-1][1])) if found else ("", 0)

    def environ(self) -> dict[str, str]:
        """Of a program in it."""
        raise NotImplementedError

    def exports(self) -> dict[str, str]:
        """What makes another terminal's programs its own."""
        chosen = {key: self.environ()[key] for key in self.variables}
        return chosen | self.bed.machine(GUEST_DOMID)


class PipeWireGuest(DemoGuest):
    name = "a private session"
    player = "pw-play"
    converts = True
    programs: ClassVar[dict[str, str]] = {"pw-play": "pipewire-bin"}
    variables = ("XDG_RUNTIME_DIR", "PULSE_SERVER", "DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME")
    examples = "wpctl status; paplay FILE.wav; xen-pv-audio doctor; pw-top"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.bed: Testbed = Testbed(*arguments, **options)

    @contextmanager
    def up(self) -> Iterator[str]:
        with self.bed:
            yield f'sink "{self.bed.wait_for_node()["node.description"]}"'

    def play(self, file: Path, **options: Any) -> subprocess.Popen[Any]:
        return self.bed.guest.popen(["pw-play", "--target", SINK, str(file)], **options)

    def probe(self, frames: int) -> tuple[Marks, bytes] | None:
        words = ("--target", SINK, "--quantum", str(self.bed.quantum_frames))
        return self._probe("xenpvaudio.testbed.noise_player", frames, *words)

    def environ(self) -> dict[str, str]:
        return self.bed.guest.env


class AlsaGuest(DemoGuest):
    name = "ALSA programs, without PipeWire"
    player = "aplay"
    maps = False
    programs: ClassVar[dict[str, str]] = {"aplay": "alsa-utils"}
    variables: ClassVar[tuple[str, ...]] = ("ALSA_CONFIG_PATH", "XEN_PV_AUDIO_ALSA_SOCKET")
    examples = (
        f"aplay -D plug:{DEVICE} FILE.wav; arecord -D plug:{DEVICE} -f cd -d 3 FILE.wav; "
        f"alsamixer -D {DEVICE}; xen-pv-audio status"
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.bed: AlsaBed = AlsaBed(*arguments, **options)

    @contextmanager
    def up(self) -> Iterator[str]:
        with self.bed:
            yield f'ALSA\'s device "{DEVICE}"'

    def play(self, file: Path, **options: Any) -> subprocess.Popen[Any]:
        # plug: the card has one format, and the file may have another one
        return self.bed.popen("aplay", "-q", "-D", f"plug:{DEVICE}", str(file), **options)

    def probe(self, frames: int) -> tuple[Marks, bytes] | None:
        words = ("--device", f"plug:{DEVICE}", "--period", str(self.bed.quantum_frames))
        return self._probe("xenpvaudio.testbed.alsa.player", frames, *words)

    def environ(self) -> dict[str, str]:
        return self.bed.env


class PulseGuest(AlsaGuest):
    name = "a private PulseAudio daemon, without PipeWire"
    player = "paplay"
    maps = True
    programs: ClassVar[dict[str, str]] = {
        "paplay": "pulseaudio-utils",
        "pactl": "pulseaudio-utils",
        PULSE_DAEMON: "pulseaudio (which takes the place of pipewire-alsa)",
    }
    variables = ("PULSE_SERVER", *AlsaGuest.variables)
    examples = (
        "paplay FILE.wav; parec --file-format=wav FILE.wav; pactl list sinks; xen-pv-audio status"
    )

    @contextmanager
    def up(self) -> Iterator[str]:
        with self.bed, PulseAudio(self.bed) as self._pulse:
            yield f'PulseAudio\'s sink "{PULSE_SINK}"'

    def check(self) -> None:
        super().check()
        self._pulse.check()

    def probe(self, frames: int) -> tuple[Marks, bytes] | None:
        return None  # what libpulse tells has not settled in so short a time

    def play(self, file: Path, **options: Any) -> subprocess.Popen[Any]:
        return self._pulse.popen("paplay", "-d", PULSE_SINK, str(file), **options)

    def environ(self) -> dict[str, str]:
        return self._pulse.env


GUESTS: dict[str, type[PipeWireGuest | AlsaGuest]] = {
    "pipewire": PipeWireGuest,
    "alsa": AlsaGuest,
    "pulse": PulseGuest,
}
