"""Records what a stream's host was given into a WAV file, for tests and for a puzzled user.

The data loop fills a Tap; this drains it from the event loop, so a slow disk never holds up audio:
bytes that find no room are dropped there, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from xenpvaudio.errors import ConfigError, UnavailableError
from xenpvaudio.logs.peer_log import PeerLog
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.sound import wav
from xenpvaudio_native.plane import BackStream
from xenpvaudio_native.tap import Tap

log = logging.getLogger(__name__)

DRAIN_SEC = 0.1
# What can be recorded, by its names in sndif and in WAV files.
_ENCODINGS = {
    PcmFormat.U8: "u8",
    PcmFormat.S16_LE: "s16",
    PcmFormat.S32_LE: "s32",
    PcmFormat.F32_LE: "f32",
    PcmFormat.F64_LE: "f64",
}


def wav_header(config: Config, data_bytes: int) -> bytes:
    """Of interleaved samples in `config`'s format; ConfigError if WAV has none."""
    encoding = _ENCODINGS.get(config.format)
    if encoding is None:
        raise ConfigError(
            f"WAV files have no {config.format.xenstore_name}", hint="record s16_le or float_le"
        )
    return wav.wav_header(config.rate, config.channels, encoding, data_bytes)


class Recorder:
    """One recording, from an open stream to close(). It ends early, with one line that says why,
    when the file is as long as a WAV file can be or the disk takes no more; the stream goes on.
    `max_data_bytes`: whole frames of it are written."""

    def __init__(
        self,
        path: Path,
        stream: BackStream,
        config: Config,
        *,
        max_data_bytes: int = wav.MAX_DATA_BYTES,
        log: logging.Logger | PeerLog = log,
    ) -> None:
        self._log = log
        self._path = path
        self._stream = stream
        self._config = config
        self._bytes = 0
        self._room_bytes = max_data_bytes // config.frame_bytes * config.frame_bytes
        self._ended = False
        header = wav_header(config, 0)
        try:
            # Unbuffered: what the disk refuses is known at the write, and only there.
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise ConfigError(f"cannot record to {path}: {error.strerror}") from None
        try:
            self._file.write(header)
            self._tap = Tap()
            stream.set_tap(self._tap)
        except OSError as error:
            self._file.close()
            raise ConfigError(f"cannot record to {path}: {error.strerror}") from None
        except UnavailableError:
            self._file.close()
            raise
        self._timer = asyncio.get_running_loop().call_later(DRAIN_SEC, self._drain)

    def _take(self) -> None:
        data = self._tap.read()
        if self._ended:
            return
        room = self._room_bytes - self._bytes
        try:
            self._write(data[:room])
        except OSError as error:
            self._end(error.strerror or "the disk takes no more")
        else:
            if len(data) > room:
                self._end("a WAV file cannot be longer")

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = self._file.write(view)
            self._bytes += count
            view = view[count:]

    def _end(self, why: str) -> None:
        self._ended = True
        self._stream.set_tap(None)
        self._log.warning("%s: the recording ends after %d bytes: %s", self._path, self._bytes, why)

    def _drain(self) -> None:
        self._take()
        if not self._ended:
            self._timer = asyncio.get_running_loop().call_later(DRAIN_SEC, self._drain)

    def finish(self) -> None:
        """Before the stream is closed: no more bytes are wanted."""
        if not self._ended:
            self._stream.set_tap(None)

    def close(self) -> None:
        """After the stream's RELEASED notice: nothing writes to the tap any more."""
        self._timer.cancel()
        self._take()
        if self._tap.dropped_bytes and not self._ended:
            self._log.warning("%s: %d bytes did not fit", self._path, self._tap.dropped_bytes)
        self._tap.free()
        whole = self._bytes // self._config.frame_bytes * self._config.frame_bytes
        try:
            self._file.seek(0)
            self._file.write(wav_header(self._config, whole))
            self._file.seek(0, os.SEEK_END)
            self._file.write(bytes(self._bytes % 2))  # chunks end on an even byte
            self._file.close()
        except OSError as error:
            self._log.warning("%s: its header could not be written: %s", self._path, error.strerror)
