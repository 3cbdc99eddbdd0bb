"""compare() against an independent verdict for anything, and exact counts for isolated faults."""

from __future__ import annotations

import random
from array import array
from itertools import groupby
from math import pi, sin

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xenpvaudio.sound.compare import Comparison, compare

WIDTH = 4
SILENCE = bytes(WIDTH)
SPACING = 60  # frames between faults that are isolated
KINDS = ("lose", "repeat", "swap", "alter", "gap")


def frames_of(count: int, seed: int = 1) -> list[bytes]:
    """Different frames, none silent."""
    chance = random.Random(seed)
    return [chance.randbytes(1) + n.to_bytes(3, "big") for n in range(1, count + 1)]


def compared(sent: list[bytes], received: list[bytes]) -> Comparison:
    result = compare(b"".join(sent), b"".join(received), WIDTH, b"\0")
    assert result.frames_sent == len(sent)
    assert result.frames_received == len(received)
    return result


def faults(result: Comparison) -> tuple[int, int, int, int]:
    return result.lost, result.duplicated, result.reordered, result.corrupted


def inner(sent: list[bytes], position: int) -> bool:
    """Whether something sounds both before and after `position`."""
    return any(f != SILENCE for f in sent[:position]) and any(f != SILENCE for f in sent[position:])


def sounding_before(sent: list[bytes], position: int) -> int:
    return sum(frame != SILENCE for frame in sent[:position])


# -- silence


def test_equal_signals_are_bit_exact() -> None:
    sent = frames_of(1000)
    assert compared(sent, sent) == Comparison(1000, 1000, 1000, 0, 0, 0, 0, 0, 0, 0)
    assert compared(sent, sent).bit_exact


def test_silence_before_and_after_is_no_gap_and_gives_the_start() -> None:
    sent = frames_of(1000)
    result = compared(sent, [SILENCE] * 480 + sent + [SILENCE] * 7)
    assert result.bit_exact
    assert (result.inserted_silence, result.gaps) == (0, 0)
    assert result.first_received_frame == 480


def test_a_gap_in_the_middle_is_counted_and_is_no_fault() -> None:
    sent = frames_of(1000)
    received = [SILENCE] * 3 + sent[:500] + [SILENCE] * 48 + sent[500:]
    result = compared(sent, received)
    assert result.bit_exact
    assert (result.matched, result.inserted_silence, result.gaps) == (1000, 48, 1)
    assert result.first_received_frame == 3


def test_silence_that_was_sent_is_no_gap() -> None:
    sent = frames_of(100)
    sent[40:50] = [SILENCE] * 10
    result = compared(sent, [*sent[:70], SILENCE, *sent[70:]])
    assert (result.bit_exact, result.inserted_silence, result.gaps) == (True, 1, 1)
    longer = compared(sent, sent[:45] + [SILENCE] * 5 + sent[45:])
    assert (longer.bit_exact, longer.inserted_silence, longer.gaps) == (True, 5, 1)


def test_silence_missing_within_the_signal_is_lost() -> None:
    sent = frames_of(100)
    sent[40:50] = [SILENCE] * 10
    result = compared(sent, sent[:42] + sent[45:])
    assert not result.bit_exact
    assert (result.matched, result.lost) == (97, 3)


def test_silence_missing_at_the_ends_is_not_lost() -> None:
    core = frames_of(100)
    sent = [SILENCE] * 20 + core + [SILENCE] * 30
    for received in (core, [SILENCE] * 5 + core, [*core[:50], SILENCE, *core[50:]]):
        result = compared(sent, received)
        assert result.bit_exact
        assert (result.matched, result.lost) == (150, 0)
    assert compared(sent, core).first_received_frame == -20


def test_silence_is_what_the_format_says() -> None:
    sent = bytes(range(1, 101))
    received = b"\x80" * 4 + sent[:50] + b"\x80" * 2 + sent[50:]
    assert compare(sent, received, 2, b"\x80").bit_exact
    assert not compare(sent, received, 2, b"\0").bit_exact


def test_zeros_that_are_no_whole_frame_are_no_silence() -> None:
    # Four zero bytes across two frames: taking them out would join the two to one.
    sent = [b"\1\2\0\0", b"\0\0\3\4", *frames_of(50)]
    assert compared(sent, [*sent[:1], SILENCE, *sent[1:]]).inserted_silence == 1
    assert faults(compared(sent, [b"\1\2\3\4", *sent[2:]])) == (1, 0, 0, 1)


def test_silence_in_a_signal_of_silence_and_empty_signals() -> None:
    assert compared([SILENCE] * 5, [SILENCE] * 9).bit_exact
    assert compared([SILENCE] * 5, []).first_received_frame is None
    assert compared([], []).bit_exact
    sent = frames_of(10)
    assert faults(compared(sent, [])) == (10, 0, 0, 0)
    assert faults(compared([], sent)) == (0, 0, 0, 10)


def test_what_is_left_of_a_last_frame_is_dropped() -> None:
    sent = b"".join(frames_of(10))
    assert compare(sent, sent + b"\1\2\3", WIDTH, SILENCE).bit_exact
    assert compare(bytearray(sent), memoryview(sent), WIDTH, SILENCE).bit_exact


def test_silence_that_fills_no_frame_is_refused() -> None:
    for width, silence in ((4, b""), (4, b"\0\0\0"), (0, b"\0")):
        with pytest.raises(ValueError, match="do not fill a frame"):
            compare(b"", b"", width, silence)


@settings(deadline=None)
@given(st.data())
def test_inserted_silence_leaves_a_signal_bit_exact(data: st.DataObject) -> None:
    sent = frames_of(data.draw(st.integers(1, 300)))
    for start, length in data.draw(
        st.lists(st.tuples(st.integers(0, len(sent) - 1), st.integers(1, 9)), max_size=5)
    ):
        sent[start : start + length] = [SILENCE] * len(sent[start : start + length])
    cuts = data.draw(st.dictionaries(st.integers(0, len(sent)), st.integers(1, 40), max_size=8))
    received = list(sent)
    for position in sorted(cuts, reverse=True):
        received[position:position] = [SILENCE] * cuts[position]
    result = compared(sent, received)
    assert result.bit_exact
    assert result.matched == len(sent)
    seen = {position: length for position, length in cuts.items() if inner(sent, position)}
    assert result.inserted_silence == sum(seen.values())
    assert result.gaps == len({sounding_before(sent, position) for position in seen})


# -- faults


@settings(deadline=None)
@given(st.data())
def test_one_fault_is_counted_wherever_it_is(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 300), label="frames")
    sent = frames_of(count)
    start = data.draw(st.integers(0, count - 1), label="start")
    length = data.draw(st.integers(1, count - start), label="length")
    end = start + length
    block = sent[start:end]
    other = data.draw(st.integers(0, count - 1).filter(lambda n: n != start), label="other")
    swapped = list(sent)
    swapped[start], swapped[other] = sent[other], sent[start]
    altered = [bytes([frame[0] ^ 1]) + frame[1:] for frame in block]
    moves = 1 if abs(start - other) == 1 else 2

    assert faults(compared(sent, sent[:start] + sent[end:])) == (length, 0, 0, 0)
    assert faults(compared(sent, sent[:end] + block + sent[end:])) == (0, length, 0, 0)
    assert faults(compared(sent, sent[:start] + altered + sent[end:])) == (0, 0, 0, length)
    assert faults(compared(sent, swapped)) == (0, 0, moves, 0)
    odd = [b"\xff" * WIDTH] * length
    assert faults(compared(sent, sent[:start] + odd + sent[start:])) == (0, 0, 0, length)


@settings(deadline=None)
@given(st.data())
def test_isolated_faults_add_up(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(KINDS), max_size=12))
    sent = frames_of(SPACING * (len(kinds) + 1))
    received = list(sent)
    expected = dict.fromkeys(KINDS, 0)
    for number in range(len(kinds), 0, -1):
        kind = kinds[number - 1]
        at = number * SPACING + data.draw(st.integers(-10, 10))
        length = data.draw(st.integers(1, 10))
        expected[kind] += 1 if kind in ("swap", "alter") else length
        if kind == "lose":
            del received[at : at + length]
        elif kind == "repeat":
            received[at + length : at + length] = received[at : at + length]
        elif kind == "swap":
            received[at], received[at + 1] = received[at + 1], received[at]
        elif kind == "alter":
            received[at] = b"\xff" + received[at][1:]
        else:
            received[at:at] = [SILENCE] * length
    result = compared(sent, received)
    counts = (*faults(result), result.inserted_silence)
    assert counts == tuple(expected[kind] for kind in KINDS)
    assert result.gaps == kinds.count("gap")
    assert result.bit_exact == (set(kinds) <= {"gap"})
    assert result.matched == len(sent) - expected["lose"] - expected["alter"]


def test_a_repeated_end_is_duplicated_whatever_its_length() -> None:
    for length in range(1, 70):
        for count in (226, 242, 1000):
            sent = frames_of(count)
            assert faults(compared(sent, sent + sent[-length:])) == (0, length, 0, 0)


def test_thousands_of_lost_frames_are_counted() -> None:
    sent = frames_of(60_000)
    result = compared(sent, sent[:10_000] + [SILENCE] * 500 + sent[37_123:])
    assert faults(result) == (27_123, 0, 0, 0)
    assert (result.inserted_silence, result.gaps) == (500, 1)


def test_a_block_that_comes_late_is_reordered_not_lost() -> None:
    sent = frames_of(10_000)
    result = compared(sent, sent[:2000] + sent[2300:7000] + sent[2000:2300] + sent[7000:])
    assert faults(result) == (0, 0, 300, 0)


def test_a_second_playing_is_duplicated_as_a_whole() -> None:
    sent = frames_of(5000)
    assert faults(compared(sent, sent + [SILENCE] * 100 + sent)) == (0, 5000, 0, 0)


def test_a_start_that_is_missing_is_lost_and_the_start_is_reckoned() -> None:
    sent = frames_of(5000)
    result = compared(sent, [SILENCE] * 700 + sent[100:])
    assert faults(result) == (100, 0, 0, 0)
    assert result.first_received_frame == 600


@pytest.mark.parametrize("count", [10, 1000, 1_100_000])
def test_another_signal_is_corrupted_as_a_whole(count: int) -> None:
    sent, other = random.Random(1).randbytes(8 * count), random.Random(2).randbytes(8 * count)
    result = compare(sent, other, 8, b"\0")
    assert (result.matched, result.lost, result.corrupted) == (0, 0, count)
    assert result.first_received_frame is None


def test_a_loss_in_every_twenty_frames_is_counted() -> None:
    sent = frames_of(20_000)
    received = [frame for number, frame in enumerate(sent) if number % 20 != 7]
    assert faults(compared(sent, received)) == (1000, 0, 0, 0)


def test_a_frame_left_alone_is_the_next_of_its_like_that_is_missing() -> None:
    sent = frames_of(120)
    sent[81] = sent[20]
    received = [frame for number, frame in enumerate(sent) if number not in (20, 80, 85)]
    assert faults(compared(sent, received)) == (3, 0, 0, 0)


def test_a_tone_that_repeats_itself_still_shows_its_loss() -> None:
    tone = [round(8000 * sin(2 * pi * n / 48)) for n in range(48_000)]
    sent = array("h", [value or 1 for value in tone]).tobytes()
    result = compare(sent, sent[:20_000] + sent[20_020:], 2, b"\0")
    assert faults(result) == (10, 0, 0, 0)


def test_noise_instead_of_silence_is_corrupted_not_lost() -> None:
    sent = frames_of(200)
    sent[100:110] = [SILENCE] * 10
    received = [*sent[:103], b"\xff" * WIDTH, *sent[104:]]
    assert faults(compared(sent, received)) == (0, 0, 0, 1)


def test_a_frame_that_became_silence_is_lost() -> None:
    sent = frames_of(200)
    result = compared(sent, [*sent[:100], SILENCE, *sent[101:]])
    assert faults(result) == (1, 0, 0, 0)
    assert (result.inserted_silence, result.gaps) == (1, 1)


# -- the verdict, whatever happened

ONE = frames_of(1)[0]
FEW_FRAMES = st.lists(st.sampled_from([SILENCE, *frames_of(3)]), max_size=90)


def verdict(sent: list[bytes], received: list[bytes]) -> bool:
    """Bit-exact, by the definition: the same sounding frames, and at least the silence between."""

    def parts(frames: list[bytes]) -> tuple[list[bytes], list[int]]:
        sounding: list[bytes] = []
        silent = [0]
        for is_silence, run in groupby(frames, key=lambda frame: frame == SILENCE):
            for frame in run:
                if is_silence:
                    silent[-1] += 1
                else:
                    sounding.append(frame)
                    silent.append(0)
        return sounding, silent[1:-1]

    (sent_sound, sent_silence), (sound, silence) = parts(sent), parts(received)
    return sent_sound == sound and all(a <= b for a, b in zip(sent_silence, silence, strict=True))


@settings(deadline=None)
@given(FEW_FRAMES, FEW_FRAMES)
@example([SILENCE], frames_of(1))
@example(
    [ONE, SILENCE, frames_of(2)[1]],
    [ONE, SILENCE, ONE, SILENCE, ONE],
)
def test_frames_add_up_for_any_two_signals(sent: list[bytes], received: list[bytes]) -> None:
    result = compared(sent, received)
    assert result.bit_exact == verdict(sent, received)
    replaced = result.frames_sent - result.matched - result.lost
    assert 0 <= replaced <= result.corrupted
    assert 0 <= result.reordered <= result.matched
    assert result.gaps <= result.inserted_silence
    sounding = sum(frame != SILENCE for frame in received)
    assert result.duplicated + result.corrupted <= sounding


@settings(deadline=None)
@given(FEW_FRAMES, st.data())
def test_any_edit_of_any_signal_gets_the_right_verdict(
    sent: list[bytes], data: st.DataObject
) -> None:
    # Long enough for windows, and full of repetitions.
    sent = sent * data.draw(st.integers(1, 4))
    received = list(sent)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(received)))
        end = data.draw(st.integers(at, min(len(received), at + 5)))
        received[at:end] = data.draw(
            st.lists(st.sampled_from([SILENCE, *frames_of(4)]), max_size=5)
        )
    assert compared(sent, received).bit_exact == verdict(sent, received)
