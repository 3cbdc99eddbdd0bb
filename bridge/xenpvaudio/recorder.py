"""Records what a stream's host was given into a WAV file, for tests and for a puzzled user.

The data loop fills a Tap; this drains it from the event loop, so a slow disk never holds up audio:
bytes that find no room are dropped there, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from pathlib import Path

from xenpvaudio_native.plane import BackStream, Tap

from .errors import ConfigError
from .hwparams import Config
from .sndif import PcmFormat

log = logging.getLogger(__name__)

DRAIN_SEC = 0.1
_PCM, _FLOAT = 1, 3
_TAGS = {
    PcmFormat.U8: _PCM,
    PcmFormat.S16_LE: _PCM,
    PcmFormat.S32_LE: _PCM,
    PcmFormat.F32_LE: _FLOAT,
    PcmFormat.F64_LE: _FLOAT,
}


def wav_header(config: Config, data_bytes: int) -> bytes:
    """RIFF/WAVE header of interleaved samples in `config`'s format; ConfigError if WAV has none."""
    tag = _TAGS.get(config.format)
    if tag is None:
        raise ConfigError(
            f"WAV files have no {config.format.xenstore_name}", hint="record s16_le or float_le"
        )
    width = config.format.sample_bytes or 0
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + data_bytes,
        b"WAVE",
        b"fmt ",
        16,
        tag,
        config.channels,
        config.rate,
        config.rate * config.frame_bytes,
        config.frame_bytes,
        8 * width,
        b"data",
        data_bytes,
    )


class Recorder:
    """One recording, from an open stream to close()."""

    def __init__(self, path: Path, stream: BackStream, config: Config) -> None:
        self._path = path
        self._stream = stream
        self._config = config
        self._bytes = 0
        header = wav_header(config, 0)
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise ConfigError(f"cannot record to {path}: {error.strerror}") from None
        self._file.write(header)
        self._tap = Tap()
        stream.set_tap(self._tap)
        self._timer = asyncio.get_running_loop().call_later(DRAIN_SEC, self._drain)

    def _take(self) -> None:
        data = self._tap.read()
        self._file.write(data)
        self._bytes += len(data)

    def _drain(self) -> None:
        self._take()
        self._timer = asyncio.get_running_loop().call_later(DRAIN_SEC, self._drain)

    def finish(self) -> None:
        """Before the stream is closed: no more bytes are wanted."""
        self._stream.set_tap(None)

    def close(self) -> None:
        """After the stream's RELEASED notice: nothing writes to the tap any more."""
        self._timer.cancel()
        self._take()
        if self._tap.dropped_bytes:
            log.warning("%s: %d octets did not fit", self._path, self._tap.dropped_bytes)
        self._file.seek(0)
        self._file.write(wav_header(self._config, self._bytes))
        self._file.close()
        self._tap.free()
