"""WAV files: what real writers leave behind is read, what cannot be played is one clear line."""

from __future__ import annotations

import io
import math
import os
import struct
import wave
from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xenpvaudio.errors import ConfigError
from xenpvaudio.sound.wav import SAMPLE_BYTES, WavFile, read_wav, to_float32, write_wav

GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
S16_STEREO = struct.pack("<HHIIHH", 1, 2, 48000, 192000, 4, 16)
SOUND = struct.pack("<8h", 1, -1, 2, -2, 3, -3, 32767, -32768)


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    length = len(body) if size is None else size
    return struct.pack("<4sI", name, length) + body + bytes(len(body) % 2)


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return struct.pack("<4sI", b"RIFF", len(body) if size is None else size) + body


def read(tmp_path: Path, content: bytes) -> WavFile:
    path = tmp_path / "test.wav"
    path.write_bytes(content)
    return read_wav(path)


def pcm_format(
    tag: int = 1, channels: int = 2, rate: int = 48000, bits: int = 16, block: int | None = None
) -> bytes:
    width = channels * bits // 8 if block is None else block
    return struct.pack("<HHIIHH", tag, channels, rate, rate * width & 0xFFFFFFFF, width, bits)


# -- what is read


@pytest.mark.parametrize("encoding", SAMPLE_BYTES)
@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_what_was_written_is_read(tmp_path: Path, encoding: str, channels: int) -> None:
    # Odd numbers of bytes too: u8 and s24 need padding.
    data = bytes(n % 251 for n in range(7 * SAMPLE_BYTES[encoding] * channels))
    path = tmp_path / "test.wav"
    write_wav(path, 44100, channels, encoding, data)
    masks = {6: 0x3F, 8: 0x63F}
    expected = WavFile(path, 44100, channels, encoding, 7, data, masks.get(channels, 0))
    assert read_wav(path) == expected
    assert expected.frame_bytes == len(data) // 7
    assert os.path.getsize(path) % 2 == 0
    (riff_bytes,) = struct.unpack_from("<I", path.read_bytes(), 4)
    assert riff_bytes == os.path.getsize(path) - 8


@pytest.mark.parametrize(("encoding", "width"), [("u8", 1), ("s16", 2), ("s24", 3), ("s32", 4)])
def test_pythons_own_wave_module_agrees(tmp_path: Path, encoding: str, width: int) -> None:
    data = bytes(range(12 * width))
    path = tmp_path / "test.wav"
    write_wav(path, 22050, 2, encoding, data)
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (2, width, 22050, 6)
        assert file.readframes(6) == data
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setparams((2, width, 22050, 0, "NONE", ""))
        file.writeframes(data)
    wav = read(tmp_path, written.getvalue())
    assert (wav.rate, wav.channels, wav.encoding, wav.data) == (22050, 2, encoding, data)


def test_extensible_format_gives_encoding_and_speakers(tmp_path: Path) -> None:
    for tag, bits, encoding in ((1, 16, "s16"), (1, 24, "s24"), (3, 32, "f32"), (3, 64, "f64")):
        fmt = pcm_format(0xFFFE, 4, bits=bits)
        fmt += struct.pack("<HHIH14s", 22, bits, 0x33, tag, GUID_TAIL)
        wav = read(tmp_path, riff(chunk(b"fmt ", fmt), chunk(b"data", bytes(4 * bits // 8))))
        assert (wav.encoding, wav.channels, wav.channel_mask) == (encoding, 4, 0x33)


def test_other_chunks_are_skipped_with_their_padding(tmp_path: Path) -> None:
    content = riff(
        chunk(b"JUNK", bytes(28)),
        chunk(b"LIST", b"INFOISFT\5\0\0\0odd\0\0"),
        chunk(b"fmt ", S16_STEREO + bytes(2)),
        chunk(b"fact", bytes(3)),
        chunk(b"data", SOUND),
        chunk(b"LIST", b"INFO after the data"),
    )
    wav = read(tmp_path, content)
    assert (wav.frames, wav.data) == (4, SOUND)
    assert wav.seconds == 4 / 48000


@pytest.mark.parametrize(
    ("riff_bytes", "data_bytes"),
    [
        (0, 0),
        (8, 0),
        (36, 0),
        (0xFFFFFFFF, 0),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0, 0xFFFFFFFF),
        (0x7FFFFFFF, 0x7FFFFFDB),
        (None, 0x80000000),
    ],
)
def test_streaming_writers_data_reach_to_the_end(
    tmp_path: Path, riff_bytes: int | None, data_bytes: int
) -> None:
    data = chunk(b"data", SOUND, size=data_bytes)
    wav = read(tmp_path, riff(chunk(b"fmt ", S16_STEREO), data, size=riff_bytes))
    assert wav.data == SOUND


def test_truncated_data_give_whole_frames(tmp_path: Path) -> None:
    content = riff(chunk(b"fmt ", S16_STEREO), chunk(b"data", SOUND))
    for cut in (1, 2, 3, 4):
        wav = read(tmp_path, content[:-cut])
        assert (wav.frames, wav.data) == (3, SOUND[:12])


def test_a_data_size_of_no_whole_frames_gives_whole_frames(tmp_path: Path) -> None:
    wav = read(tmp_path, riff(chunk(b"fmt ", S16_STEREO), chunk(b"data", SOUND[:7])))
    assert (wav.frames, wav.data) == (1, SOUND[:4])


# -- what is not


def refusal(tmp_path: Path, content: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert "test.wav" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"ID3\4 this is an MP3 file", "not a WAV"),
        (b"RIFF\0\0\0\0AVI LIST", "not a WAV"),
        (b"RIFF\4\0\0\0WAV", "not a WAV"),
        (b"RIFX\0\0\0\0WAVEfmt ", "RIFX"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "RF64"),
        (riff(), "no format"),
        (riff(chunk(b"fmt ", S16_STEREO)), "no data"),
        (riff(chunk(b"data", SOUND)), "no format before"),
        (riff(chunk(b"fmt ", S16_STEREO[:14]), chunk(b"data", SOUND)), "14 bytes"),
        (riff(chunk(b"fmt ", S16_STEREO), chunk(b"data", b"")), "holds no sound"),
        (riff(chunk(b"fmt ", S16_STEREO), chunk(b"data", SOUND[:3])), "holds no sound"),
        (
            riff(chunk(b"fmt ", S16_STEREO), chunk(b"data", b""), chunk(b"LIST", SOUND)),
            "holds no sound",
        ),
    ],
)
def test_no_wav_file_is_one_clear_line(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refusal(tmp_path, content)


@pytest.mark.parametrize(
    ("fmt", "words"),
    [
        (pcm_format(channels=0), "0 channels"),
        (pcm_format(channels=65), "65 channels"),
        (pcm_format(rate=0), "0 Hz"),
        (pcm_format(rate=768001), "768001 Hz"),
        (pcm_format(bits=12, block=4), "12-bit integer"),
        (pcm_format(tag=3, bits=16), "16-bit float"),
        (pcm_format(block=3), "3 bytes a frame"),
        (pcm_format(tag=2, bits=4, block=512), "Microsoft ADPCM"),
        (pcm_format(tag=6, bits=8), "A-law"),
        (pcm_format(tag=0x55, bits=0), "MP3"),
        (pcm_format(tag=0x1234), "0x1234"),
        (pcm_format(tag=0xFFFE), "too short"),
        (pcm_format(tag=0xFFFE) + bytes(24), "sub-format"),
        (
            pcm_format(tag=0xFFFE) + struct.pack("<HHIH14s", 22, 16, 3, 0x11, GUID_TAIL),
            "IMA ADPCM",
        ),
    ],
)
def test_formats_that_are_not_played_are_one_clear_line(
    tmp_path: Path, fmt: bytes, words: str
) -> None:
    assert words in refusal(tmp_path, riff(chunk(b"fmt ", fmt), chunk(b"data", SOUND)))


def test_a_rate_of_768000_is_read(tmp_path: Path) -> None:
    fmt = pcm_format(rate=768000)
    assert read(tmp_path, riff(chunk(b"fmt ", fmt), chunk(b"data", SOUND))).rate == 768000


def test_what_is_no_readable_file_is_one_clear_line(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, words in (
        (tmp_path / "missing.wav", "No such file"),
        (tmp_path, "directory"),
        (fifo, "no regular file"),
        (tmp_path / "a\0b", "null"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_wav(path)


def test_a_file_that_fails_to_be_read_is_one_clear_line() -> None:
    # Regular, and to be opened by its own process, root or not; but nothing is at address 0.
    with pytest.raises(ConfigError, match="cannot read /proc/self/mem: Input/output error"):
        read_wav("/proc/self/mem")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_file_raises_anything_but_config_errors(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(riff(chunk(b"fmt ", S16_STEREO), chunk(b"data", SOUND)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "fuzz.wav"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        wav = read_wav(path)
    except ConfigError:
        return
    assert len(wav.data) == wav.frames * wav.frame_bytes
    assert wav.frames > 0
    to_float32(wav)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.wav"
    for rate, channels, encoding in ((48000, 2, "mp3"), (48000, 0, "s16"), (0, 2, "s16")):
        with pytest.raises(ConfigError, match="no WAV format"):
            write_wav(path, rate, channels, encoding, b"")
    with pytest.raises(ConfigError, match="whole frames"):
        write_wav(path, 48000, 2, "s16", bytes(6))
    with pytest.raises(ConfigError, match="cannot write"):
        write_wav(tmp_path / "missing" / "test.wav", 48000, 2, "s16", bytes(8))
    assert not path.exists()


# -- as float


def floats(encoding: str, data: bytes, pipewire: tuple[int, int, int] = (0, 3, 65)) -> list[float]:
    width = SAMPLE_BYTES[encoding]
    wav = WavFile(Path(), 48000, 1, encoding, len(data) // width, data)
    return list(to_float32(wav, pipewire))


def test_full_scale_is_a_power_of_two() -> None:
    assert floats("u8", bytes([0, 127, 128, 255])) == [-1, -1 / 128, 0, 127 / 128]
    assert floats("s16", struct.pack("<3h", -32768, 1, 32767)) == [-1, 2**-15, 1 - 2**-15]
    s24 = b"\0\0\x80" + b"\1\0\0" + b"\xff\xff\x7f" + b"\xff\xff\xff"
    assert floats("s24", s24) == [-1, 2**-23, 1 - 2**-23, -(2**-23)]


def test_s32_loses_its_low_eight_bits_downwards() -> None:
    s32 = struct.pack("<6i", -(2**31), 2**31 - 1, 255, 256, -1, 0x12345678)
    assert floats("s32", s32) == [-1, 1 - 2**-23, 0, 2**-23, -(2**-23), 0x123456 / 2**23]


def test_s32_is_rounded_to_nearest_from_pipewire_1_3_81_on() -> None:
    s32 = struct.pack("<6i", -(2**31), 2**31 - 1, 255, -1, (1 << 30) + 64, (1 << 30) + 65)
    rounded = [-1, 1, 255 / 2**31, -(2**-31), 0.5, 0.5 + 2**-24]
    assert floats("s32", s32, (1, 4, 2)) == floats("s32", s32, (1, 3, 81)) == rounded
    assert floats("s32", s32, (1, 2, 7)) == floats("s32", s32)


def test_floats_pass_unclipped() -> None:
    values = [0.0, -0.0, 1.5, -3.25, 1e-40, math.inf]
    f32 = array("f", values)
    assert floats("f32", struct.pack("<6f", *values)) == list(f32)
    assert floats("f64", struct.pack("<6d", *values)) == list(f32)
    assert floats("f64", struct.pack("<3d", 1e39, -1e39, 1e-50)) == [math.inf, -math.inf, 0]
    assert math.isnan(floats("f64", struct.pack("<d", math.nan))[0])
