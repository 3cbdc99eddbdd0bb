"""A real PulseAudio daemon in a guest without PipeWire: Debian's, which need not be installed."""

from __future__ import annotations

import subprocess

from interop.alsa.bed import AlsaBed
from interop.outputs.pulseaudio import on_the_path
from interop.sound import LIMIT_SEC
from xenpvaudio.testbed.alsa import pulse


class PulseAudio(pulse.PulseAudio):
    """Its sink lets the stream go after a second."""

    def __init__(self, bed: AlsaBed) -> None:
        bed.env |= on_the_path(bed.directory, bed.env["PATH"])
        super().__init__(bed, idle_sec=1)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [*command],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LIMIT_SEC,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{self._bed.log('pulse')[-3000:]}"
        return str(done.stdout)
