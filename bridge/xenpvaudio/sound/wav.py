"""WAV files as values: the demo's input, and what it and the tests write. Any thread.

RIFF/WAVE as in Microsoft's "Multiple Channel Audio Data and WAVE Files": little-endian chunks, of
which `fmt ` and `data` matter. The header is believed as far as it can be true: streaming writers
leave sizes of 0 or 0xFFFFFFFF, interrupted ones leave sizes too large; then the data reach to the
end of the file, in whole frames.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xenpvaudio.errors import ConfigError

MAX_RATE = 768_000
MAX_CHANNELS = 64  # PipeWire's own limit, SPA_AUDIO_MAX_CHANNELS

SAMPLE_BYTES = {"u8": 1, "s16": 2, "s24": 3, "s32": 4, "f32": 4, "f64": 8}

_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_ENCODINGS = {
    (_PCM, 8): "u8",
    (_PCM, 16): "s16",
    (_PCM, 24): "s24",
    (_PCM, 32): "s32",
    (_FLOAT, 32): "f32",
    (_FLOAT, 64): "f64",
}
_TAGS = {encoding: tag for (tag, _), encoding in _ENCODINGS.items()}
# What follows the tag in the sub-format GUID of every extensible format that has a tag.
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
# Speaker bits for the channel counts that have a usual layout, in PipeWire's order as well.
_MASKS = {1: 0x4, 2: 0x3, 4: 0x33, 6: 0x3F, 8: 0x63F}
_COMPRESSED = {
    0x0002: "Microsoft ADPCM",
    0x0006: "A-law",
    0x0007: "mu-law",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
    0x0050: "MPEG audio",
    0x0055: "MP3",
    0x0092: "AC-3",
    0x00FF: "AAC",
    0x0161: "Windows Media Audio",
    0x2000: "AC-3",
    0xF1AC: "FLAC",
}
_UNKNOWN_SIZE = 0xFFFFFFFF
# A RIFF file counts its bytes in 32 bits, the header's 36 among them; chunks end on an even one.
MAX_DATA_BYTES = _UNKNOWN_SIZE - 1 - 36


@dataclass(frozen=True, slots=True)
class WavFile:
    """A WAV file's sound: `frames` interleaved frames of little-endian samples in `data`.

    encoding: u8, s16, s24 (three bytes a sample), s32, f32 or f64. channel_mask: the header's
    speaker bits, 0 if it has none.
    """

    path: Path
    rate: int
    channels: int
    encoding: str
    frames: int
    data: bytes = field(repr=False)
    channel_mask: int = 0

    @property
    def frame_bytes(self) -> int:
        return SAMPLE_BYTES[self.encoding] * self.channels

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


@dataclass(frozen=True, slots=True)
class _Format:
    encoding: str
    channels: int
    rate: int
    channel_mask: int


def read_wav(path: str | os.PathLike[str]) -> WavFile:
    """The sound of the file at `path`. ConfigError, in one line, for all that cannot be played."""
    path = Path(path)
    content = _read(path)
    fmt, data = _parse(content, os.fspath(path))
    frame_bytes = SAMPLE_BYTES[fmt.encoding] * fmt.channels
    frames = len(data) // frame_bytes
    if not frames:
        raise ConfigError(f"{path}: this WAV file holds no sound")
    return WavFile(
        path,
        fmt.rate,
        fmt.channels,
        fmt.encoding,
        frames,
        bytes(data[: frames * frame_bytes]),
        fmt.channel_mask,
    )


def _read(path: Path) -> bytes:
    try:
        # Before open(): that of a FIFO would wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a directory" if path.is_dir() else "no regular file"
            raise ConfigError(f"{path}: is {kind}", hint="give a WAV file")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"cannot read {path}: {reason}") from None
    if not content:
        raise ConfigError(f"{path}: the file is empty", hint="give a WAV file")
    return content


def _parse(content: bytes, name: str) -> tuple[_Format, memoryview]:
    """Format and data of a RIFF/WAVE file; `name` is for the errors."""
    if content[:4] in (b"RIFX", b"RF64") and content[8:12] == b"WAVE":
        kind = content[:4].decode("ascii")
        raise ConfigError(f"{name}: {kind} files are not read", hint=_convert(name))
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise ConfigError(f"{name}: not a WAV file", hint="it does not begin with RIFF ... WAVE")
    (riff_bytes,) = struct.unpack_from("<I", content, 4)
    fmt: _Format | None = None
    offset = 12
    while offset + 8 <= len(content):
        chunk, size = struct.unpack_from("<4sI", content, offset)
        offset += 8
        if chunk == b"fmt ":
            fmt = _parse_format(content[offset : offset + size], name)
        elif chunk == b"data":
            if fmt is None:
                raise ConfigError(f"{name}: broken WAV header: no format before the data")
            # A size of 0 is true if the file claims to go on behind it.
            unfinished = size == 0 and (riff_bytes == _UNKNOWN_SIZE or riff_bytes + 8 <= offset)
            end = len(content) if unfinished or size == _UNKNOWN_SIZE else offset + size
            return fmt, memoryview(content)[offset:end]
        offset += size + size % 2
    missing = "data" if fmt else "format"
    raise ConfigError(f"{name}: broken WAV file: it has no {missing} chunk")


def _parse_format(chunk: bytes, name: str) -> _Format:
    if len(chunk) < 16:
        raise ConfigError(f"{name}: broken WAV header: format of {len(chunk)} bytes")
    tag, channels, rate, _, block_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    mask = 0
    if tag == _EXTENSIBLE:
        if len(chunk) < 40:
            raise ConfigError(f"{name}: broken WAV header: extensible format is too short")
        mask, tag, tail = struct.unpack_from("<IH14s", chunk, 20)
        if tail != _GUID_TAIL:
            raise ConfigError(f"{name}: unknown WAV sub-format", hint=_convert(name))
    if tag not in (_PCM, _FLOAT):
        kind = _COMPRESSED.get(tag, f"format 0x{tag:04x}")
        raise ConfigError(f"{name}: holds {kind}, not plain PCM", hint=_convert(name))
    if not 0 < channels <= MAX_CHANNELS:
        raise ConfigError(f"{name}: broken WAV header: {channels} channels")
    if not 0 < rate <= MAX_RATE:
        raise ConfigError(f"{name}: broken WAV header: rate of {rate} Hz")
    encoding = _ENCODINGS.get((tag, bits))
    if encoding is None:
        kind = "float" if tag == _FLOAT else "integer"
        raise ConfigError(f"{name}: {bits}-bit {kind} samples are not read", hint=_convert(name))
    if block_bytes != SAMPLE_BYTES[encoding] * channels:
        raise ConfigError(
            f"{name}: broken WAV header: {block_bytes} bytes a frame, "
            f"not {SAMPLE_BYTES[encoding] * channels}",
            hint=_convert(name),
        )
    return _Format(encoding, channels, rate, mask)


def _convert(name: str) -> str:
    return f"convert it first: sox '{name}' -b 16 -e signed-integer plain.wav"


def write_wav(
    path: str | os.PathLike[str],
    rate: int,
    channels: int,
    encoding: str,
    data: bytes | bytearray | memoryview,
) -> None:
    """Writes interleaved little-endian samples; more than two channels get an extensible header.

    Channels are placed as usual for 1, 2, 4, 6 and 8 of them, otherwise nowhere (mask 0).
    ConfigError if the format is none, the data are no whole frames, or the file cannot be written.
    """
    width = SAMPLE_BYTES.get(encoding)
    if width is None or not 0 < channels <= MAX_CHANNELS or not 0 < rate <= MAX_RATE:
        raise ConfigError(f"{path}: no WAV format: {encoding}, {channels} channels, {rate} Hz")
    size = len(data)
    if size % (width * channels):
        raise ConfigError(f"{path}: {size} bytes are no whole frames of {width * channels}")
    try:
        header = wav_header(rate, channels, encoding, size, extensible=channels > 2)
        with open(path, "wb") as file:
            file.write(header)
            file.write(data)
            file.write(bytes(size % 2))
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def wav_header(
    rate: int, channels: int, encoding: str, data_bytes: int, *, extensible: bool = False
) -> bytes:
    """All that comes before the samples; extensible: with the channels' places. ValueError: no
    WAV file is that long."""
    width = SAMPLE_BYTES[encoding]
    fmt = struct.pack(
        "<HHIIHH",
        _EXTENSIBLE if extensible else _TAGS[encoding],
        channels,
        rate,
        rate * channels * width,
        channels * width,
        8 * width,
    )
    if extensible:
        mask = _MASKS.get(channels, 0)
        fmt += struct.pack("<HHIH14s", 22, 8 * width, mask, _TAGS[encoding], _GUID_TAIL)
    riff_bytes = 4 + 8 + len(fmt) + 8 + data_bytes + data_bytes % 2
    if riff_bytes >= _UNKNOWN_SIZE:
        raise ValueError(f"{data_bytes} bytes are too many for a WAV file")
    header = struct.pack("<4sI4s4sI", b"RIFF", riff_bytes, b"WAVE", b"fmt ", len(fmt))
    return header + fmt + struct.pack("<4sI", b"data", data_bytes)


def to_float32(wav: WavFile, pipewire: tuple[int, int, int] = (0, 3, 65)) -> array[float]:
    """The interleaved samples as audioconvert of this version of PipeWire turns them into F32, bit
    by bit.

    Full scale is a power of two (s16: v / 32768), so nothing is rounded, but for s32, whose low
    eight bits are cut off (floor) before 1.3.81 and which is rounded to nearest from then on, and
    f64, which is rounded to nearest and may become infinite. Nothing is clipped: float samples
    beyond full scale pass. Measured with 0.3.65 and 1.4.2: see
    tests/interop/commands/test_wav_float.py.
    """
    data = wav.data
    if wav.encoding == "u8":
        return array("f", [(value - 128) / 128 for value in data])
    if wav.encoding == "s16":
        return array("f", [value / 32768 for value in _samples("h", data)])
    if wav.encoding == "s24":
        # Into the upper three bytes of four.
        wide = bytearray(len(data) // 3 * 4)
        for byte in range(3):
            wide[byte + 1 :: 4] = data[byte::3]
        return array("f", [value / 0x80000000 for value in _samples("i", wide)])
    if wav.encoding == "s32":
        if pipewire >= (1, 3, 81):
            return array("f", [value / 0x80000000 for value in _samples("i", data)])
        return array("f", [(value >> 8) / 0x800000 for value in _samples("i", data)])
    if wav.encoding == "f32":
        return _samples("f", data)
    return array("f", _samples("d", data))


def _samples(code: str, data: bytes | bytearray) -> array[Any]:
    """Little-endian `data` as an array of this machine."""
    samples: array[Any] = array(code, data)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples
