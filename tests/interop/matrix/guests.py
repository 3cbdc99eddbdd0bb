"""The kinds of guest, each with its own programs: what they play and record, and what a program
that asks is told of time."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from interop.alsa.bed import ROOT, AlsaBed, alsa_bed
from interop.alsa.pulse import PulseAudio
from interop.matrix.hosts import QUANTUM, Host
from interop.outputs.speaker import RATE
from interop.sound import LIMIT_SEC, Recording, run_client
from xenpvaudio.sound.wav import read_wav, to_float32
from xenpvaudio.testbed.noise_player import noise
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

KINDS = ("pipewire", "alsa", "pulse")
PLAY_SEC, RECORD_SEC = 6, 2
_PULSE_CLIENT = ROOT / "tests" / "interop" / "pulse_client.py"

Marks = list[list[int]]
"""[frame, when it was asked, when that frame is heard or was said], nsec."""


class Guest(Protocol):
    """Samples are float32, interleaved, 2 channels, 48 kHz."""

    def play(self, file: Path) -> None:
        """Until a real program has ended."""

    def record(self, folder: Path) -> bytes:
        """What a real program has recorded in RECORD_SEC."""

    def play_and_ask(self) -> tuple[Marks, bytes]:
        """For PLAY_SEC: what was told, and what was played."""

    def record_and_ask(self, folder: Path) -> tuple[Marks, bytes]:
        """For PLAY_SEC: what was told, and what was recorded."""


class PipeWireGuest:
    def __init__(self, bed: Testbed) -> None:
        self._bed = bed

    def play(self, file: Path) -> None:
        run_client(self._bed.guest, "pw-play", "--target", SINK, str(file))

    def record(self, folder: Path) -> bytes:
        recording = Recording(self._bed.guest, SOURCE, folder / "recorded.wav")
        time.sleep(RECORD_SEC)
        return recording.stop().tobytes()

    def _probe(self, *words: str) -> dict[str, Marks]:
        module = (sys.executable, "-m", "xenpvaudio.testbed.noise_player")
        said = run_client(self._bed.guest, *module, "--quantum", str(QUANTUM), *words)
        return dict(json.loads(said))

    def play_and_ask(self) -> tuple[Marks, bytes]:
        frames = PLAY_SEC * RATE
        told = self._probe("--target", SINK, "--frames", str(frames))
        return told["marks"], noise(frames, 2).tobytes()

    def record_and_ask(self, folder: Path) -> tuple[Marks, bytes]:
        file = folder / "captured.f32"
        words = ("--frames", "0", "--capture-frames", str(PLAY_SEC * RATE))
        told = self._probe("--source", SOURCE, *words, "--capture-file", str(file))
        return told["capture_marks"], file.read_bytes()


class AlsaGuest:
    def __init__(self, bed: AlsaBed) -> None:
        self._bed = bed

    def play(self, file: Path) -> None:
        self._bed.run("aplay", "-q", "-D", "xenpv", str(file))

    def record(self, folder: Path) -> bytes:
        file = folder / "recorded.wav"
        form = ("-f", "S16_LE", "-r", str(RATE), "-c", "2", "-d", str(RECORD_SEC))
        self._bed.run("arecord", "-q", "-D", "xenpv", *form, str(file))
        return to_float32(read_wav(file)).tobytes()

    def _ask(self, *words: str) -> dict[str, Marks]:
        module = (sys.executable, "-m", "xenpvaudio.testbed.alsa.player")
        said = self._bed.run(*module, "--period", str(QUANTUM), *words)
        return dict(json.loads(said.splitlines()[-1]))

    def play_and_ask(self) -> tuple[Marks, bytes]:
        frames = PLAY_SEC * RATE
        return self._ask("--frames", str(frames))["marks"], noise(frames, 2).tobytes()

    def record_and_ask(self, folder: Path) -> tuple[Marks, bytes]:
        file = folder / "captured.f32"
        words = ("--frames", "0", "--capture-frames", str(PLAY_SEC * RATE))
        told = self._ask(*words, "--capture-file", str(file))
        return told["capture_marks"], file.read_bytes()


class PulseGuest:
    def __init__(self, pulse: PulseAudio) -> None:
        self._pulse = pulse

    def play(self, file: Path) -> None:
        self._pulse.run("paplay", "-d", "xenpv_sink", str(file))

    def record(self, folder: Path) -> bytes:
        file = folder / "recorded.raw"
        form = ("--format=float32le", f"--rate={RATE}", "--channels=2", "--raw")
        with (
            file.open("wb") as target,
            self._pulse.popen("parec", "-d", "xenpv_source", *form, stdout=target) as recorder,
        ):
            while file.stat().st_size < RECORD_SEC * RATE * 8 and recorder.poll() is None:
                time.sleep(0.05)
            recorder.terminate()
            recorder.wait(LIMIT_SEC)
        data = file.read_bytes()
        return data[: len(data) // 8 * 8]

    def _ask(self, device: str, *words: str) -> Marks:
        client = (sys.executable, str(_PULSE_CLIENT), device, str(QUANTUM), str(PLAY_SEC))
        said = self._pulse.run(*client, *words)
        return list(json.loads(said.splitlines()[-1])["marks"])

    def play_and_ask(self) -> tuple[Marks, bytes]:
        return self._ask("xenpv_sink"), noise(PLAY_SEC * RATE, 2).tobytes()

    def record_and_ask(self, folder: Path) -> tuple[Marks, bytes]:
        file = folder / "captured.f32"
        return self._ask("xenpv_source", str(file)), file.read_bytes()


@contextmanager
def guest(kind: str, host: Host) -> Iterator[Guest]:
    """On that host, with leave to record; its card takes 16 bits."""
    nodes = card_nodes(formats=["s16_le"])
    if kind == "pipewire":
        words = ["--allow-microphone", "--output", host.output]
        with Testbed(nodes, host_environ=host.environ, backend_args=words) as bed:
            bed.wait_for_node(SINK)
            bed.wait_for_node(SOURCE)
            yield PipeWireGuest(bed)
        return
    with alsa_bed(output=host.output, nodes=nodes, host_environ=host.environ) as alsa:
        if kind == "alsa":
            yield AlsaGuest(alsa)
            return
        with PulseAudio(alsa) as pulse:
            yield PulseGuest(pulse)
