"""Files of silence, one a rate: for clients that play and must change nothing but the graph."""

from __future__ import annotations

from pathlib import Path

from xenpvaudio.sound.wav import write_wav

RATES = (32000, 44100, 48000, 96000)
SECONDS = 60


def write_silence(folder: Path) -> dict[int, Path]:
    files = {}
    for rate in RATES:
        files[rate] = folder / f"silence-{rate}.wav"
        write_wav(files[rate], rate, 2, "s16", bytes(4 * rate * SECONDS))
    return files
