"""What the lab on real Xen decides by: a check that cannot fail proves nothing."""

from __future__ import annotations

import array
import importlib.util
import math
import struct
import sys
from pathlib import Path
from types import ModuleType

import pytest

INSIDE = Path(__file__).resolve().parents[2] / "xen" / "inside"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"lab_{name}", INSIDE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


frames = load("frames")
tones = load("tones")

PLAYED = b"".join(number.to_bytes(4, "little") for number in range(1, 1001))
QUIET = bytes(4 * 50)


def cut(first: int, last: int) -> bytes:
    return PLAYED[4 * first : 4 * last]


def test_a_whole_recording_passes_with_silence_around_it() -> None:
    assert frames.compare_frames(QUIET + PLAYED + QUIET, PLAYED) == "4000 bytes equal"


def test_inserted_silence_passes_only_where_it_is_allowed_and_is_counted() -> None:
    recorded = QUIET + cut(0, 300) + QUIET + cut(300, 600) + bytes(4) + cut(600, 1000) + QUIET
    told = frames.compare_frames(recorded, PLAYED, silence_between=True)
    assert told == "4000 bytes equal, in 3 pieces, 51 silent frames between"
    with pytest.raises(frames.DifferentError, match=r"0\.\.299, 50 silent, 300\.\.599"):
        frames.compare_frames(recorded, PLAYED)


def test_each_underrun_of_a_player_may_be_one_silence() -> None:
    recorded = cut(0, 300) + QUIET + cut(300, 600) + bytes(4) + cut(600, 1000)
    told = frames.compare_frames(recorded, PLAYED, underruns=2)
    assert told == "4000 bytes equal, in 3 pieces, 51 silent frames between, 2 underruns"
    with pytest.raises(frames.DifferentError, match="more silences than underruns, 1"):
        frames.compare_frames(recorded, PLAYED, underruns=1)
    twice = cut(0, 600) + QUIET + cut(600, 1000) + PLAYED
    assert "51 silent" not in frames.compare_frames(twice, PLAYED * 2, underruns=1)


def played_in_turn(plays: list[tuple[bytes, int]], meant: int = 0) -> str:
    """What is told of these recordings, each with its player's underruns."""
    return str(frames.compare_plays(lambda: plays.pop(0), PLAYED, meant_underruns=meant))


def test_a_play_is_made_again_after_an_underrun_that_nobody_meant() -> None:
    twice = cut(0, 600) + cut(580, 1000)
    assert played_in_turn([(twice, 1), (PLAYED, 0)]) == "4000 bytes equal"
    assert played_in_turn([(twice, 2), (twice, 2), (PLAYED, 1)], meant=1) == "4000 bytes equal"


def test_a_play_is_made_again_when_linux_gave_up_but_not_for_ever() -> None:
    outcomes: list[bytes | None] = [None, None, PLAYED, None, None, None, PLAYED]

    def play() -> tuple[bytes, int]:
        heard = outcomes.pop(0)
        if heard is None:
            raise frames.GaveUpError("no position came")
        return heard, 0

    assert frames.compare_plays(play, PLAYED) == "4000 bytes equal"
    with pytest.raises(frames.GaveUpError, match="no position came"):
        frames.compare_plays(play, PLAYED)
    assert outcomes == [PLAYED]


@pytest.mark.parametrize(
    ("underruns", "meant", "left"), [([0], 0, 2), ([1], 1, 2), ([1, 1, 1], 0, 0), ([1, 0], 0, 1)]
)
def test_frames_that_no_underrun_explains_are_final(
    underruns: list[int], meant: int, left: int
) -> None:
    twice = cut(0, 600) + cut(580, 1000)
    plays = [(twice, count) for count in underruns] + [(PLAYED, 0)] * left
    with pytest.raises(frames.DifferentError, match=r"580\.\.999"):
        played_in_turn(plays, meant)
    assert len(plays) == left


@pytest.mark.parametrize(
    "recorded",
    [
        cut(0, 500) + cut(501, 1000),
        cut(0, 500) + cut(499, 1000),
        cut(500, 1000) + cut(0, 500),
        cut(0, 999),
        cut(1, 1000),
        cut(0, 500) + b"\1\1\1\1" + cut(500, 1000),
        PLAYED + cut(0, 1),
        b"",
    ],
    ids=["lost", "twice", "moved", "end lost", "begin lost", "unknown", "more", "nothing"],
)
def test_each_fault_of_a_recording_is_seen(recorded: bytes) -> None:
    for allowed in ({}, {"silence_between": True}, {"underruns": 9}):
        with pytest.raises(frames.DifferentError):
            frames.compare_frames(recorded, PLAYED, **allowed)
    if recorded != PLAYED + cut(0, 1):  # what came twice at the end, a loudspeaker's check sees too
        with pytest.raises(frames.DifferentError):
            frames.heard_frames(recorded, PLAYED)


def test_a_loudspeaker_may_pause_but_not_lose_a_frame() -> None:
    assert "1000 of 1000" in frames.heard_frames(cut(0, 10) + QUIET + cut(10, 1000), PLAYED)
    with pytest.raises(frames.DifferentError, match="999 of 1000"):
        frames.heard_frames(cut(0, 10) + QUIET + cut(11, 1000), PLAYED)
    with pytest.raises(frames.DifferentError, match="twice"):
        frames.heard_frames(PLAYED + QUIET + cut(999, 1000), PLAYED)


def test_of_rounds_frames_may_be_lost_and_silence_stand_between() -> None:
    assert frames.rounds(QUIET + PLAYED * 2 + QUIET, PLAYED) == (50, 2050, 0)
    late = QUIET + cut(700, 1000) + QUIET + cut(20, 300) + cut(320, 321) + QUIET * 3
    assert frames.rounds(late, PLAYED) == (50, 50 + 300 + 50 + 281, 50)


@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        (cut(0, 500) + cut(499, 1000), "twice"),
        (cut(500, 600) + QUIET + cut(400, 500), "twice"),
        (cut(0, 10) + b"\1\1\1\1" + cut(10, 20), "nobody played"),
        (QUIET, "silence, 50 frames"),
        (b"", "silence, 0 frames"),
    ],
)
def test_of_rounds_each_other_fault_is_seen(recorded: bytes, why: str) -> None:
    with pytest.raises(frames.DifferentError, match=why):
        frames.rounds(recorded, PLAYED)


def test_a_channel_may_sound_alone_at_the_begin_and_nowhere_else() -> None:
    whole = b"".join(struct.pack("<HH", n, n) for n in range(1, 101))
    left = b"".join(struct.pack("<HH", n, 0) for n in range(1, 11))
    late = frames.with_both_channels(QUIET + left + whole)
    assert late == QUIET + bytes(len(left)) + whole
    assert frames.with_both_channels(whole + left) == whole + left
    assert frames.with_both_channels(QUIET) == QUIET


def test_of_a_file_with_silence_behind_it_each_byte_of_the_last_frame_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A frame may end with a zero, which is no silence: the guests compare whole frames."""
    assert PLAYED.endswith(b"\0")
    paths = [tmp_path / "recorded", tmp_path / "played"]
    monkeypatch.setattr(sys, "argv", ["frames.py", *map(str, paths)])
    for played in (PLAYED, PLAYED + QUIET):
        paths[0].write_bytes(QUIET + PLAYED + QUIET)
        paths[1].write_bytes(played)
        assert frames.main() == 0
        assert capsys.readouterr().out == f"{len(PLAYED)} bytes equal\n"
        paths[0].write_bytes(PLAYED[:-4] + b"\1\1\1\1")
        assert frames.main() == 1
        capsys.readouterr()


def test_lost_frames_and_silences_are_counted() -> None:
    whole = QUIET + PLAYED + QUIET
    assert frames.in_order(whole, PLAYED) == (0, 0)
    holes = QUIET + cut(2, 300) + QUIET + cut(310, 600) + bytes(4) + cut(600, 995) + QUIET
    assert frames.in_order(holes, PLAYED) == (17, 50)
    assert frames.in_order(QUIET, PLAYED) == (1000, 0)
    for wrong in (PLAYED + cut(999, 1000), cut(5, 10) + cut(3, 4), PLAYED + b"\1\1\1\1"):
        with pytest.raises(frames.DifferentError):
            frames.in_order(wrong, PLAYED)


def test_of_frames_that_nobody_played_the_first_are_shown() -> None:
    strange = cut(0, 5) + b"\1\2\3\4\5\6\7\x08" + b"\t" * 40 + cut(5, 1000)
    shown = "0..4, 12 unknown: 01020304 05060708, 5..999"
    for check in (frames.compare_frames, frames.in_order, frames.heard_frames):
        with pytest.raises(frames.DifferentError, match=shown):
            check(strange, PLAYED)


def test_rounds_that_are_marked_are_told_apart() -> None:
    whole = b"".join(frames.marked(PLAYED, number) for number in range(3))
    assert frames.marked_span(QUIET + whole[400:4800] + QUIET + whole[4800:9000], PLAYED) == (
        100,
        2249,
    )
    again = whole[4000:8000]
    for wrong in (again + again, whole[:400] + whole[404:], again + PLAYED, again[1:], QUIET, b""):
        with pytest.raises(frames.DifferentError):
            frames.marked_span(wrong, PLAYED)


def test_samples_of_32_bits_are_narrowed_only_if_nothing_is_lost() -> None:
    def wav(bits: int, data: bytes) -> bytes:
        fmt = b"fmt " + (16).to_bytes(4, "little") + bytes(14) + bits.to_bytes(2, "little")
        return b"RIFF\0\0\0\0WAVE" + fmt + b"data" + bytes(4) + data

    assert frames.samples(wav(16, b"abcd")) == b"abcd"
    assert frames.samples(wav(32, b"\0\0ab\0\0cd")) == b"abcd"
    assert frames.samples(wav(32, b"\1\0ab")) == b"\1\0ab"
    assert frames.samples(b"raw") == b"raw"


def tone(hertz: float, seconds: float) -> list[int]:
    count = int(48000 * seconds)
    return [round(9000 * math.sin(2 * math.pi * hertz * i / 48000)) for i in range(count)]


def stereo(left: list[int], right: list[int]) -> bytes:
    mixed = array.array("h", [0]) * (2 * len(left))
    mixed[0::2], mixed[1::2] = array.array("h", left), array.array("h", right)
    return mixed.tobytes()


def test_tones_are_told_by_channel_and_frequency() -> None:
    a, b = tone(440, 1), tone(997, 1)
    silent = [0] * 48000
    recorded = stereo(silent, silent) + stereo(a, silent) + stereo(silent, b)
    found = tones.channels_in_turn(recorded, 48000)
    assert [side for side, _ in found] == [0, 1]
    assert [hertz for _, hertz in found] == pytest.approx([440, 997], abs=0.1)
    assert tones.channels_in_turn(stereo(a, b), 48000) == []
    assert tones.channels_in_turn(stereo(silent, silent), 48000) == []


# -- minutes of sound, of which a moment may be lost


def test_frames_that_a_long_recording_leaves_out_are_counted_place_by_place() -> None:
    assert frames.lost_frames(QUIET + PLAYED + QUIET, PLAYED) == []
    recorded = cut(200, 300) + QUIET + cut(300, 600) + cut(640, 700) + bytes(4) + cut(701, 900)
    assert frames.lost_frames(recorded, PLAYED) == [40, 1]
    assert frames.longest_silence(QUIET + recorded + QUIET * 2) == 50
    assert frames.sounding(QUIET + cut(0, 3) + QUIET) == cut(0, 3)


@pytest.mark.parametrize(
    "recorded",
    [
        b"",
        QUIET,
        cut(0, 300) + cut(290, 400),  # ten of them twice
        cut(300, 600) + cut(0, 300),
        cut(0, 300) + bytes([1, 2, 3, 4]) + cut(300, 600),
        bytes([1, 2, 3, 4]) + cut(0, 300),
    ],
)
def test_a_long_recording_with_frames_that_were_not_played_so_is_refused(recorded: bytes) -> None:
    with pytest.raises(frames.DifferentError):
        frames.lost_frames(recorded, PLAYED)
