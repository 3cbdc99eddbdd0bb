"""A sound card for tests of hosts without PipeWire: a plugin of alsa-lib (speaker.c) with a clock
of its own, which writes down what it plays and when it was heard. PulseAudio plays to it by
module-alsa-sink, the output "alsa" at once."""

from __future__ import annotations

import subprocess
from array import array
from pathlib import Path

RATE = 48000
FRAME_BYTES = 8  # stereo, float
HERE = Path(__file__).parent


def compiled(folder: Path) -> Path:
    """The plugin."""
    made = folder / "libxpaspeaker.so"
    if not made.exists():
        flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-DPIC"]
        command = ["cc", *flags, str(HERE / "speaker.c"), "-o", str(made), "-lasound"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return made


class Speaker:
    """As testbed.loudspeaker.Loudspeaker tells what was played. `name`: alsa-lib's for it, with the
    variable of `environ`; `heard`: what reaches its microphone, over and over; `drains`: that says
    now and then that it does not run, and is read all the same."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "speaker",
        ppm: int = 0,
        latency_frames: int = 240,
        heard: array[float] | None = None,
        drains: bool = False,
    ) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.name = name
        self._played = self.folder / "played"
        if heard is not None:
            (self.folder / "heard").write_bytes(heard.tobytes())
        self.text = (
            f'pcm_type.xpaspeaker {{ lib "{compiled(folder)}" }}\n'
            f'pcm.{name} {{ type xpaspeaker folder "{self.folder}" ppm {ppm} '
            f"latency {latency_frames} drains {int(drains)} }}\n"
        )

    @property
    def frames(self) -> int:
        """Given to it so far."""
        try:
            return self._played.stat().st_size // FRAME_BYTES
        except FileNotFoundError:
            return 0

    def data(self, first_frame: int = 0) -> bytes:
        """Everything given to it from `first_frame` on, whole frames."""
        if not self._played.exists():
            return b""
        with self._played.open("rb") as file:
            file.seek(first_frame * FRAME_BYTES)
            data = file.read()
        return data[: len(data) // FRAME_BYTES * FRAME_BYTES]

    def _starts(self, file: str) -> list[tuple[int, int, float]]:
        lines = (self.folder / file).read_text().splitlines()
        return [(int(a), int(b), float(c)) for a, b, c in (line.split() for line in lines)]

    def played_nsec(self, frame: int, around_sec: float = 1.0) -> int | None:
        """When `frame` was heard."""
        before = [start for start in self._starts("starts") if start[0] <= frame]
        if not before:
            return None
        first, nsec, rate = before[-1]
        return nsec + round((frame - first) * 1e9 / rate)

    def captured_nsec(self, frame: float) -> float:
        """When the frame of that number, since it was opened last, was at the microphone."""
        starts = self._starts("capture-starts")
        opened = max(i for i, start in enumerate(starts) if start[0] == 0)
        first, nsec, rate = [start for start in starts[opened:] if start[0] <= frame][-1]
        return nsec + (frame - first) * 1e9 / rate


def configuration(folder: Path, *speakers: Speaker) -> dict[str, str]:
    """The environment in which alsa-lib knows them."""
    path = folder / "asound.conf"
    lines = ["</usr/share/alsa/alsa.conf>", *(speaker.text for speaker in speakers)]
    path.write_text("\n".join(lines))
    return {"ALSA_CONFIG_PATH": str(path)}
