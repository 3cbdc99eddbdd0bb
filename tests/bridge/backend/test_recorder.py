"""A recording ends by itself, in a file that can be read, where the disk or the format ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from xenpvaudio.backend.recorder import DRAIN_SEC, Recorder, wav_header
from xenpvaudio.errors import ConfigError
from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio.sound.wav import MAX_DATA_BYTES, read_wav
from xenpvaudio_native.plane import BackStream
from xenpvaudio_native.tap import Tap

CONFIG = Config(PcmFormat.S16_LE, 48000, 2, 256, 4096)


class Stream:
    """Keeps the tap that was set on it."""

    def __init__(self) -> None:
        self.tap: Tap | None = None

    def set_tap(self, tap: Tap | None) -> None:
        self.tap = tap


class Source:
    """Of bytes, in the tap's place."""

    dropped_bytes = 0

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self) -> bytes:
        data, self.data = self.data, b""
        return data

    def free(self) -> None:
        """Nothing is held."""


def recorded(
    path: Path, body: Callable[[Recorder, Stream], Awaitable[None]], **options: int
) -> None:
    async def session() -> None:
        stream = Stream()
        recorder = Recorder(path, cast(BackStream, stream), CONFIG, **options)
        recorder._tap.free()
        await body(recorder, stream)
        recorder.close()

    asyncio.run(session())


def feed(recorder: Recorder, data: bytes) -> None:
    recorder._tap = cast(Tap, Source(data))


def test_a_recording_ends_where_a_wav_file_does_and_the_stream_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(recorder: Recorder, stream: Stream) -> None:
        for _ in range(3):
            feed(recorder, b"\1\2\3\4" * 10)
            await asyncio.sleep(2 * DRAIN_SEC)
        assert stream.tap is None  # nothing is copied any more

    recorded(tmp_path / "a.wav", body, max_data_bytes=63)
    assert read_wav(tmp_path / "a.wav").data == b"\1\2\3\4" * 15  # whole frames
    lines = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(lines) == 1, lines
    assert "ends after 60 bytes: a WAV file cannot be longer" in lines[0]


def test_the_longest_recording_has_a_header() -> None:
    assert len(wav_header(CONFIG, MAX_DATA_BYTES)) == 44
    with pytest.raises(ValueError):
        wav_header(CONFIG, MAX_DATA_BYTES + 1)


def test_a_full_disk_ends_the_recording_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def body(recorder: Recorder, stream: Stream) -> None:
        full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 (the recorder closes it)
        recorder._file.close()
        recorder._file = full
        feed(recorder, bytes(40))
        await asyncio.sleep(2 * DRAIN_SEC)
        assert stream.tap is None
        feed(recorder, bytes(40))

    recorded(Path("/dev/null"), body)
    lines = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len([line for line in lines if "the recording ends" in line]) == 1, lines
    assert "No space left on device" in lines[0]


def test_a_disk_that_is_full_from_the_start_is_told_in_one_line() -> None:
    async def session() -> None:
        stream = Stream()
        with pytest.raises(ConfigError, match="cannot record to /dev/full: No space left"):
            Recorder(Path("/dev/full"), cast(BackStream, stream), CONFIG)
        assert stream.tap is None

    asyncio.run(session())
