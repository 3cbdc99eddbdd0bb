"""A real PulseAudio daemon for a guest without PipeWire. Debian's package would take pipewire-alsa
away with it: so it is unpacked beside it, once a run of the tests, and started from there."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from interop.alsa.bed import ROOT, AlsaBed
from interop.sound import LIMIT_SEC, eventually

# With what it is linked to, and few machines have.
PACKAGES = (
    *("pulseaudio", "libasyncns0", "libfftw3-single3", "libgomp1", "libltdl7", "liborc-0.4-0"),
    *("libsoxr0", "libspeexdsp1", "libtdb1", "libwrap0"),
)
SNIPPET = ROOT / "packaging" / "pulse" / "xen-pv-audio.pa"


class NoPulseAudioError(Exception):
    """apt cannot fetch it here."""


@cache
def unpacked() -> Path:
    folder = Path(tempfile.gettempdir()) / f"xpa-pulseaudio-{os.geteuid()}"
    if (folder / "usr" / "bin" / "pulseaudio").exists():
        return folder
    with tempfile.TemporaryDirectory() as name:
        fetch = ["apt-get", "download", "-q", *PACKAGES]
        done = subprocess.run(fetch, cwd=name, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoPulseAudioError(done.stderr)
        for package in Path(name).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    return folder


class PulseAudio:
    """A daemon in the guest of `bed`, that has read the snippet which is shipped."""

    def __init__(self, bed: AlsaBed) -> None:
        root, self._bed = unpacked(), bed
        (modules,) = root.glob("usr/lib/pulse-*/modules")
        libraries = next(root.glob("usr/lib/*/pulseaudio")).parent
        runtime = bed.directory / "pulse"
        runtime.mkdir(mode=0o700, exist_ok=True)
        native = runtime / "native"
        script = bed.directory / "default.pa"
        script.write_text(
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={native}\n"
            f"load-module module-suspend-on-idle timeout=1\n.include {SNIPPET}\n"
        )
        self.env = bed.env | {"PULSE_SERVER": f"unix:{native}"}
        environ = bed.env | {
            "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'pulseaudio'}:{modules}",
            "XDG_RUNTIME_DIR": str(runtime),
            "PULSE_RUNTIME_PATH": str(runtime),
        }
        program = str(root / "usr" / "bin" / "pulseaudio")
        options = ("--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "-vv")
        with (bed.directory / "pulse.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "-n", *options, "-p", str(modules), "-F", str(script)],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        eventually(lambda: "xenpv_sink" in self.sinks(), f"no sink: {bed.log('pulse')[-3000:]}")

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen([*command], env=self.env, stdin=subprocess.DEVNULL, **options)

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

    def sinks(self) -> str:
        done = subprocess.run(
            ["pactl", "list", "sinks"], env=self.env, capture_output=True, text=True, check=False
        )
        return done.stdout

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(LIMIT_SEC)
