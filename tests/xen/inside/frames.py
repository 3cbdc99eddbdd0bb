"""Numbered frames: finds what was played in a recording. In dom0 as a module, in a guest as

frames.py RECORDED PLAYED             (raw samples, or WAV files by our recorder or pw-record)
frames.py RECORDED PLAYED order       prints in_order()'s two numbers
frames.py RECORDED PLAYED microphone  prints rounds()'s three numbers, of with_both_channels()
"""

from __future__ import annotations

import array
import re
import struct
import sys
from collections.abc import Callable
from itertools import pairwise

FIRST_MARK = 0x55
"""Byte 2 of each numbered frame; those that go round again may count the rounds there."""
PLAYS_AT_MOST = 3


class DifferentError(Exception):
    """The recording does not hold what was played; says where they part."""


class GaveUpError(Exception):
    """The guest's Linux heard of no played frame for as long as it waits for one."""


def compare_frames(
    recorded: bytes,
    played: bytes,
    frame_bytes: int = 4,
    *,
    silence_between: bool = False,
    underruns: int = 0,
) -> str:
    """ "N bytes equal" if `recorded` holds `played` unbroken, silence around it allowed.
    `silence_between`: also in the middle, as a machine that is late inserts it; but every frame,
    once, in order; how much of it is told. `underruns`: so many the emulated guest's player told
    of, being late; each may be one silence in the middle."""
    at = recorded.find(played[: 8 * frame_bytes])
    if at >= 0 and recorded[at : at + len(played)] == played:
        more = len((recorded[:at] + recorded[at + len(played) :]).strip(b"\0"))
        if more:
            raise DifferentError(f"{more} bytes more than was played")
        return f"{len(played)} bytes equal"
    pieces = describe(recorded, played, frame_bytes)
    if silence_between or underruns:
        silence = bytes(frame_bytes)
        starts = range(0, len(recorded) - frame_bytes + 1, frame_bytes)
        sounding = [f for i in starts if (f := recorded[i : i + frame_bytes]) != silence]
        if b"".join(sounding) == played:
            spans = [number for number, piece in enumerate(pieces) if ".." in piece]
            between = [int(p.split()[0]) for p in pieces[spans[0] : spans[-1]] if "silent" in p]
            told = (
                f"{len(played)} bytes equal, in {len(spans)} pieces, "
                f"{sum(between)} silent frames between"
            )
            if not silence_between and len(between) > underruns:
                raise DifferentError(f"{told}: more silences than underruns, {underruns}")
            return f"{told}, {underruns} underruns" if underruns else told
    shown = ", ".join(pieces[:12]) + (f" ... {len(pieces)} pieces" if len(pieces) > 12 else "")
    raise DifferentError(f"of {len(played) // frame_bytes} frames the recording has: {shown}")


def compare_plays(
    play: Callable[[], tuple[bytes, int]],
    played: bytes,
    frame_bytes: int = 4,
    *,
    meant_underruns: int = 0,
) -> str:
    """compare_frames() of a recording and the player's underruns, which `play` brings about.

    After an underrun that was not meant a different recording proves nothing, and the play is made
    again: Linux hands samples over before it looks whether the stream still runs, and if it does
    not, it tells the player that it took none of them (pcm_lib.c, __snd_pcm_lib_xfer). The player
    then rightly writes them again, and they are heard twice. So it is if `play` raises GaveUpError:
    since 6.6 Linux waits 1.1 buffers for a position (pcm_lib.c, wait_for_avail), and a guest or a
    dom0 that stands still for longer is the emulator's.
    """
    for left in reversed(range(PLAYS_AT_MOST)):
        try:
            recorded, underruns = play()
        except GaveUpError as error:
            if not left:
                raise
            print(f"  played again: {error}", flush=True)
            continue
        try:
            return compare_frames(recorded, played, frame_bytes, underruns=underruns)
        except DifferentError as error:
            if not left or underruns <= meant_underruns:
                raise
            print(f"  played again after {underruns} underruns: {error}", flush=True)
    raise AssertionError("the last play returns or raises")


def describe(recorded: bytes, played: bytes, frame_bytes: int) -> list[str]:
    """What a recording consists of: frames of `played`, silence, others; in order. Of others the
    first two are shown: a volume, a mixture and old memory look different."""
    starts = range(0, len(played) - frame_bytes + 1, frame_bytes)
    number_of = {played[at : at + frame_bytes]: at // frame_bytes for at in starts}
    silence = bytes(frame_bytes)
    pieces: list[list[int]] = []  # first number (-1 silence, -2 unknown), count, place
    for at in range(0, len(recorded) - frame_bytes + 1, frame_bytes):
        frame = recorded[at : at + frame_bytes]
        number = number_of.get(frame, -1 if frame == silence else -2)
        if pieces:
            first, count, _ = pieces[-1]
            if number == (first + count if first >= 0 else first):
                pieces[-1][1] += 1
                continue
        pieces.append([number, 1, at])

    def told(first: int, count: int, at: int) -> str:
        if first >= 0:
            return f"{first}..{first + count - 1}"
        if first == -1:
            return f"{count} silent"
        return f"{count} unknown: {recorded[at : at + 2 * frame_bytes].hex(' ', frame_bytes)}"

    return [told(*piece) for piece in pieces]


def in_order(recorded: bytes, played: bytes, frame_bytes: int = 4) -> tuple[int, int]:
    """(frames lost, longest silence between two frames) of a recording that holds frames of
    `played` in their order, none twice and none changed; DifferentError if not so."""
    pieces = describe(recorded, played, frame_bytes)
    lost, longest, silent, last = 0, 0, 0, -1
    for piece in pieces:
        if "unknown" in piece:
            raise DifferentError(f"there are frames that nobody played: {', '.join(pieces[:12])}")
        if "silent" in piece:
            silent = int(piece.split()[0])
            continue
        first, end = map(int, piece.split(".."))
        if first <= last:
            raise DifferentError(f"frames come twice or out of order: {', '.join(pieces[:12])}")
        if last >= 0:
            longest = max(longest, silent)
        lost += first - last - 1
        last, silent = end, 0
    return lost + len(played) // frame_bytes - 1 - last, longest


def marked(played: bytes, number: int) -> bytes:
    """Numbered S16 stereo frames as round `number` of them, from 0 on."""
    frames = bytearray(played)
    frames[2::4] = bytes([FIRST_MARK + number]) * (len(frames) // 4)
    return bytes(frames)


def marked_span(recorded: bytes, played: bytes) -> tuple[int, int]:
    """The first and the last frame that a recording of marked rounds holds, counted over the
    rounds: with all between, each once, in order, and silence anywhere; DifferentError if not."""
    starts = range(0, len(recorded) - 3, 4)
    sounding = b"".join(f for i in starts if (f := recorded[i : i + 4]) != bytes(4))
    rounds = sounding[-2] - FIRST_MARK + 1 if sounding else 0
    whole = b"".join(marked(played, number) for number in range(rounds))
    at = whole.find(sounding) if sounding else -1
    if at < 0 or at % 4:
        shown = ", ".join(describe(recorded, whole or played, 4)[:12])
        raise DifferentError(f"nothing, or not one round after the other: {shown}")
    return at // 4, (at + len(sounding)) // 4 - 1


def rounds(recorded: bytes, played: bytes, frame_bytes: int = 4) -> tuple[int, int, int]:
    """(frame of the first sound, frame after the last, silent frames between) of a recording of
    `played`, over and over: none twice, none changed, some perhaps lost; DifferentError if not so,
    or if there is no sound."""
    first = (len(recorded) - len(recorded.lstrip(b"\0"))) // frame_bytes
    end = -(-len(recorded.rstrip(b"\0")) // frame_bytes)
    if first >= end:
        raise DifferentError(f"silence, {len(recorded) // frame_bytes} frames")
    pieces = describe(recorded[first * frame_bytes : end * frame_bytes], played, frame_bytes)
    count = len(played) // frame_bytes
    silent, last = 0, None
    for piece in pieces:
        if "unknown" in piece:
            raise DifferentError(f"there are frames that nobody played: {', '.join(pieces[:12])}")
        if "silent" in piece:
            silent += int(piece.split()[0])
            continue
        begin, stop = map(int, piece.split(".."))
        # what is more than half of a round ahead is behind
        if last is not None and (begin - last - 1) % count > count // 2:
            raise DifferentError(f"frames come twice or out of order: {', '.join(pieces[:12])}")
        last = stop
    return first, end, silent


def with_both_channels(recorded: bytes) -> bytes:
    """A recording of S16 stereo without the frames at its begin in which one channel sounds alone:
    PipeWire links a stream's channels one after the other."""
    first = (len(recorded) - len(recorded.lstrip(b"\0"))) // 4 * 4
    at = first
    while at + 4 <= len(recorded) and b"\0\0" in (recorded[at : at + 2], recorded[at + 2 : at + 4]):
        at += 4
    return recorded[:first] + bytes(at - first) + recorded[at:]


def sounding(recorded: bytes) -> bytes:
    """The frames of S16 stereo that are no silence."""
    whole = memoryview(recorded)[: len(recorded) // 4 * 4].cast("I")
    return array.array("I", filter(None, whole)).tobytes()


def longest_silence(recorded: bytes) -> int:
    """Between two frames of S16 stereo that sound, in frames."""
    inside = recorded.strip(b"\0")
    return max((len(run[0]) // 4 for run in re.finditer(rb"\0{4,}", inside)), default=0)


def lost_frames(recorded: bytes, played: bytes) -> list[int]:
    """How many frames of S16 stereo a recording leaves out, place by place, of what was played from
    the first frame that it has to its last one; silence anywhere. DifferentError if there is one
    that nobody played, or one that comes twice or out of order. Takes no time for each frame, as
    describe() does: for minutes of sound in a slow machine."""
    heard, lost = sounding(recorded), []
    at, here = played.find(heard[:32]), 0
    while here < len(heard):
        if at < 0:
            shown = heard[here : here + 16].hex(" ", 4)
            raise DifferentError(f"frame {here // 4} of those that sound: not in order: {shown}")
        same = _same(heard, here, played, at)
        here, at = here + same, at + same
        if here < len(heard):
            next_at = played.find(heard[here : here + 32], at)
            lost.append((next_at - at) // 4)
            at = next_at
    if not heard:
        raise DifferentError("nothing was heard")
    return lost


def _same(one: bytes, at: int, other: bytes, other_at: int) -> int:
    """For how many bytes, in whole frames, they are the same from there on."""
    least, most = 0, min(len(one) - at, len(other) - other_at) // 4
    while least < most:
        half = (least + most + 1) // 2
        if one[at : at + 4 * half] == other[other_at : other_at + 4 * half]:
            least = half
        else:
            most = half - 1
    return 4 * least


def heard_frames(recorded: bytes, played: bytes, frame_bytes: int = 4) -> str:
    """For what a real-time device played: silence may stand between where the machine stood still,
    but every frame is there, none twice, out of order, or changed."""
    total = len(played) // frame_bytes
    pieces = [piece for piece in describe(recorded, played, frame_bytes) if "silent" not in piece]
    if any("unknown" in piece for piece in pieces):
        raise DifferentError(f"there are frames that nobody played: {', '.join(pieces[:12])}")
    spans = [tuple(map(int, piece.split(".."))) for piece in pieces]
    count = sum(last - first + 1 for first, last in spans)
    if any(after[0] <= before[1] for before, after in pairwise(spans)):
        raise DifferentError(f"frames come twice or out of order: {', '.join(pieces[:12])}")
    if count < total:
        raise DifferentError(f"{count} of {total} frames: {', '.join(pieces[:12])}")
    return f"{count} of {total} frames, in order, in {len(spans)} pieces"


def samples(data: bytes) -> bytes:
    """The samples of a WAV file, or `data` itself; 32-bit ones as 16-bit where that loses
    nothing. The data chunk may be of unknown length."""
    if data[:4] != b"RIFF":
        return data
    at, bits = 12, 16
    while data[at : at + 4] != b"data":
        if data[at : at + 4] == b"fmt ":
            bits = struct.unpack_from("<H", data, at + 22)[0]
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    found = data[at + 8 :]
    if bits != 32:
        return found
    wide = array.array("I", found[: len(found) // 4 * 4])
    if any(value & 0xFFFF for value in wide):
        return found
    return array.array("H", [value >> 16 for value in wide]).tobytes()


def main() -> int:
    paths, judge = sys.argv[1:3], "".join(sys.argv[3:])
    files = []
    for path in paths:
        with open(path, "rb") as file:
            files.append(samples(file.read()))
    sounding = len(files[1].rstrip(b"\0"))
    files[1] = files[1][: sounding + -sounding % 4]  # whole frames: one may end with a zero
    try:
        if judge == "order":
            print(*in_order(files[0], files[1]))
        elif judge == "microphone":
            print(*rounds(with_both_channels(files[0]), files[1]))
        else:
            print(compare_frames(files[0], files[1]))
    except DifferentError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
