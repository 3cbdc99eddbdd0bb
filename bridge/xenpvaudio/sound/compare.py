"""What became of the frames on their way: lost, repeated, moved, altered, or all there. Pure.

Silence may come before, after and between (a stall inserts it) and is no fault, so it is taken out
of both sides first and accounted for apart. What is left is walked along in big steps as long as it
is equal. Where it is not, windows of the received frames are looked up among those sent, and each
equal stretch becomes a segment: sent position, received position, length. Frames that no window
reaches are then looked up one by one among the sent frames that nobody has claimed. What lies
between is counted, and what is out of order is what does not belong to the longest rising chain.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from .silence import MAX_STEP_FRAMES, find_silence, silence_end, silence_start

_WINDOW_FRAMES = 16
_MAX_INDEX_ENTRIES = 500_000
# More foreign frames than these are another signal: not worth a look one by one.
_MAX_SINGLE_FRAMES = 1_000_000

_MISSING, _MATCHED, _REPLACED = range(3)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Counts of frames.

    Each sent frame is matched, lost, or replaced by a corrupted one. Each received one is the copy
    of a sent frame, a duplicate of one, corrupted (resembles none), or silence.
    """

    frames_sent: int
    frames_received: int
    matched: int
    lost: int
    duplicated: int
    reordered: int  # least number of frames to move for the order to be right; they are matched
    corrupted: int
    inserted_silence: int  # between sent frames: not before the first, nor after the last
    gaps: int  # places where silence was inserted
    # Where sent frame 0 is in the received ones, reckoned from the first frame that arrived in
    # order (negative: sent silence that the recording missed). None: nothing arrived.
    first_received_frame: int | None

    @property
    def bit_exact(self) -> bool:
        """Every sent frame received once, in order, unaltered, inserted silence aside."""
        return not (self.lost or self.duplicated or self.reordered or self.corrupted)


@dataclass(frozen=True, slots=True)
class _Segment:
    """`frames` equal frames, at these positions among the sounding ones."""

    sent: int
    received: int
    frames: int


class _Sound:
    """A signal without its silence: `data` and `runs`, (sounding frames before it, its frames)."""

    def __init__(self, signal: bytes, silence: bytes) -> None:
        self.frame_bytes = len(silence)
        self.runs: list[tuple[int, int]] = []
        parts = []
        frames = offset = 0
        while offset < len(signal):
            start = find_silence(signal, silence, offset)
            parts.append(signal[offset:start])
            frames += (start - offset) // self.frame_bytes
            offset = silence_end(signal, silence, start)
            if offset > start:
                self.runs.append((frames, (offset - start) // self.frame_bytes))
        self.data = b"".join(parts)
        self.frames = frames

    def frame(self, index: int) -> bytes:
        return self.data[index * self.frame_bytes : (index + 1) * self.frame_bytes]


def compare(
    sent: bytes | bytearray | memoryview,
    received: bytes | bytearray | memoryview,
    frame_bytes: int,
    silence: bytes,
) -> Comparison:
    """Compares signals of whole frames of `frame_bytes`; what is left of a last frame is dropped.

    silence: a frame of it, or what a frame of it repeats, such as a zero byte. Silent frames
    within `sent` match silence received there, those at its ends need no match. A frame that became
    silence counts as lost, with silence inserted. Time: memory speed where equal, linear otherwise.
    ValueError: `silence` does not fill a frame.
    """
    if frame_bytes <= 0 or not silence or frame_bytes % len(silence):
        raise ValueError(f"{len(silence)} bytes of silence do not fill a frame of {frame_bytes}")
    silence *= frame_bytes // len(silence)
    sent = bytes(sent[: len(sent) // frame_bytes * frame_bytes])
    received = bytes(received[: len(received) // frame_bytes * frame_bytes])
    return _compare_at_once(sent, received, silence) or _Matcher(sent, received, silence).result()


def _compare_at_once(sent: bytes, received: bytes, silence: bytes) -> Comparison | None:
    """The good case: equal but for silence before and after."""
    sent_start = silence_end(sent, silence, 0)
    received_start = silence_end(received, silence, 0)
    core_bytes = silence_start(sent, silence, sent_start) - sent_start
    received_end = received_start + core_bytes
    # Never a copy of what differs at once.
    head = min(core_bytes, 4096)
    if (
        not core_bytes
        or not received.startswith(sent[sent_start : sent_start + head], received_start)
        or silence_end(received, silence, received_end) != len(received)
        or not received.startswith(sent[sent_start : sent_start + core_bytes], received_start)
    ):
        return None
    frame_bytes = len(silence)
    frames = len(sent) // frame_bytes
    first = (received_start - sent_start) // frame_bytes
    return Comparison(frames, len(received) // frame_bytes, frames, 0, 0, 0, 0, 0, 0, first)


class _Matcher:
    """One comparison, done by its constructor."""

    def __init__(self, sent: bytes, received: bytes, silence: bytes) -> None:
        self._frame_bytes = len(silence)
        self._totals = (len(sent) // len(silence), len(received) // len(silence))
        self._sent = _Sound(sent, silence)
        self._received = _Sound(received, silence)
        self._state = bytearray(self._sent.frames)
        self._index: dict[int, list[int]] = {}
        self._stride = max(_WINDOW_FRAMES, self._sent.frames // _MAX_INDEX_ENTRIES)
        self._firsts: list[_Segment] = []  # the first copies
        self._strange: list[int] = []  # corrupted frames that stand for no sounding one
        self._duplicated = 0
        self._corrupted = 0
        left = self._walk()
        if sum(end - start for start, end, _ in left) <= _MAX_SINGLE_FRAMES:
            claimed = self._claim_singly(left)
            self._judge(left, claimed)
        else:
            self._judge_in_bulk(left)
        self._firsts.sort(key=lambda segment: segment.received)

    # -- segments

    def _walk(self) -> list[tuple[int, int, int]]:
        """Finds the segments; returns what they leave of the received frames.

        As (start, end, position among the sent ones where `start` is expected).
        """
        left: list[tuple[int, int, int]] = []
        i = j = 0
        while True:
            frames = self._equal_frames(i, j)
            self._take(_Segment(i, j, frames))
            i += frames
            j += frames
            if j == self._received.frames:
                return left
            found = self._resync(i, j)
            if found is None:
                left.append((j, self._received.frames, i))
                return left
            next_i, next_j = found
            while next_j > j and next_i and self._same(next_i - 1, next_j - 1):
                next_i -= 1
                next_j -= 1
            if next_j > j:
                left.append((j, next_j, i))
            i, j = next_i, next_j

    def _same(self, i: int, j: int) -> bool:
        return self._sent.frame(i) == self._received.frame(j)

    def _equal_frames(self, i: int, j: int) -> int:
        """How many frames are equal from here: steps that double, then halve."""
        width = self._frame_bytes
        sent, received = self._sent.data, self._received.data
        room = min(self._sent.frames - i, self._received.frames - j)
        done, step, growing = 0, 64, True
        while step:
            a, b = (i + done) * width, (j + done) * width
            if done + step <= room and sent[a : a + step * width] == received[b : b + step * width]:
                done += step
                step = min(2 * step, MAX_STEP_FRAMES) if growing else step // 2
            else:
                growing = False
                step //= 2
        return done

    def _take(self, segment: _Segment) -> None:
        """Marks a segment's sent frames; those that had arrived before are duplicates."""
        position, end = segment.sent, segment.sent + segment.frames
        while position < end:
            start = self._state.find(_MISSING, position, end)
            start = end if start < 0 else start
            self._duplicated += start - position
            position = self._state.find(_MATCHED, start, end)
            position = end if position < 0 else position
            if position > start:
                self._state[start:position] = bytes([_MATCHED]) * (position - start)
                shift = segment.received - segment.sent
                self._firsts.append(_Segment(start, start + shift, position - start))

    def _resync(self, i: int, j: int) -> tuple[int, int] | None:
        """The next received window that was sent, and where: right here, or nearest to it."""
        if not self._index:
            self._make_index()
        width = self._frame_bytes
        sent, received = self._sent.data, self._received.data
        for there in range(j, self._received.frames - _WINDOW_FRAMES + 1):
            window = received[there * width : (there + _WINDOW_FRAMES) * width]
            expected = i + there - j
            if sent.startswith(window, expected * width):
                return expected, there
            if places := self._index.get(hash(window)):
                place = _nearest(places, expected)
                if sent.startswith(window, place * width):
                    return place, there
        return None

    def _make_index(self) -> None:
        width = self._frame_bytes
        for frame in range(0, self._sent.frames - _WINDOW_FRAMES + 1, self._stride):
            window = self._sent.data[frame * width : (frame + _WINDOW_FRAMES) * width]
            self._index.setdefault(hash(window), []).append(frame)

    # -- frame by frame

    def _claim_singly(self, left: list[tuple[int, int, int]]) -> dict[int, int]:
        """Gives left frames the equal sent ones that are missing still, the nearest ahead first.

        Returns received position -> sent position.
        """
        frame = self._received.frame
        wanted: dict[bytes, list[int]] = {frame(j): [] for a, b, _ in left for j in range(a, b)}
        for i in self._missing() if wanted else ():
            if (places := wanted.get(self._sent.frame(i))) is not None:
                places.append(i)
        claimed = {}
        for start, end, expected in left:
            for j in range(start, end):
                places = wanted[frame(j)]
                if places:
                    ahead = bisect_left(places, expected)
                    i = places.pop(min(ahead, len(places) - 1))
                    claimed[j] = i
                    self._take(_Segment(i, j, 1))
                    expected = i
                expected += 1
        return claimed

    def _missing(self) -> Iterator[int]:
        i = self._state.find(_MISSING)
        while i >= 0:
            yield i
            i = self._state.find(_MISSING, i + 1)

    def _judge(self, left: list[tuple[int, int, int]], claimed: dict[int, int]) -> None:
        """Names what is left now: it stands for a missing frame, repeats one nearby, or is odd."""
        for start, end, expected in left:
            for j in range(start, end):
                if j in claimed:
                    expected = claimed[j] + 1
                elif expected < self._sent.frames and self._state[expected] == _MISSING:
                    self._state[expected] = _REPLACED
                    self._corrupted += 1
                    expected += 1
                elif self._repeats(j, expected):
                    self._duplicated += 1
                else:
                    self._corrupted += 1
                    self._strange.append(j)

    def _repeats(self, j: int, expected: int) -> bool:
        # As far as a repetition goes at most that no window has found.
        reach = self._stride + _WINDOW_FRAMES
        first = max(expected - reach, 0)
        last = min(expected + reach, self._sent.frames)
        return any(self._same(i, j) for i in range(first, last))

    def _judge_in_bulk(self, left: list[tuple[int, int, int]]) -> None:
        for start, end, expected in left:
            self._corrupted += end - start
            stop = min(expected + end - start, self._sent.frames)
            for i in range(expected, stop):
                self._state[i] = self._state[i] or _REPLACED

    # -- the sum

    def result(self) -> Comparison:
        chain = _rising_chain(self._firsts)
        lost_silence, inserted, gaps = self._account_silence(chain)
        matched = self._state.count(_MATCHED)
        silent = sum(frames for _, frames in self._sent.runs)
        if chain:
            first = _position(self._received, chain[0].received)
            first_received_frame = first - _position(self._sent, chain[0].sent)
        return Comparison(
            frames_sent=self._totals[0],
            frames_received=self._totals[1],
            matched=matched + silent - lost_silence,
            lost=self._state.count(_MISSING) + lost_silence,
            duplicated=self._duplicated,
            reordered=matched - sum(segment.frames for segment in chain),
            corrupted=self._corrupted,
            inserted_silence=inserted,
            gaps=gaps,
            first_received_frame=first_received_frame if chain else None,
        )

    def _account_silence(self, chain: list[_Segment]) -> tuple[int, int, int]:
        """Silence sent and received, place by place: frames lost, frames inserted, gaps.

        Silence at the ends of either signal counts for nothing; a strange frame may stand for a
        silent one.
        """
        sent_starts = [segment.sent for segment in chain]
        received_starts = [segment.received for segment in chain]
        # Place -> silent frames sent; received; runs received; strange frames.
        places: dict[tuple[int, int], list[int]] = {}
        for position, frames in _inner_runs(self._sent):
            places.setdefault(_place(chain, sent_starts, position), [0] * 4)[0] += frames
        for position, frames in _inner_runs(self._received):
            place = places.setdefault(_place(chain, received_starts, position), [0] * 4)
            place[1] += frames
            place[2] += 1
        for position in self._strange:
            places.setdefault(_place(chain, received_starts, position), [0] * 4)[3] += 1
        lost = sum(max(there - here - odd, 0) for there, here, _, odd in places.values())
        more = [(here - there, runs) for there, here, runs, _ in places.values() if here > there]
        return lost, sum(frames for frames, _ in more), sum(min(pair) for pair in more)


def _inner_runs(sound: _Sound) -> list[tuple[int, int]]:
    return [run for run in sound.runs if 0 < run[0] < sound.frames]


def _place(chain: list[_Segment], starts: list[int], position: int) -> tuple[int, int]:
    """Which segment comes before `position`, and how far inside it that is; 0: behind its end."""
    number = bisect_left(starts, position) - 1
    inside = position - starts[number] if number >= 0 else 0
    return number, inside if number >= 0 and inside < chain[number].frames else 0


def _rising_chain(segments: list[_Segment]) -> list[_Segment]:
    """The segments, in the order of receipt, that rise in the order sent, with the most frames."""
    if all(a.sent < b.sent for a, b in pairwise(segments)):
        return segments
    rank = {sent: k for k, sent in enumerate(sorted(segment.sent for segment in segments), 1)}
    # A Fenwick tree over the ranks: the heaviest chain that ends at a rank or below, by number.
    best = [0] * (len(segments) + 1)
    weights = [0]
    before = [0]
    for number, segment in enumerate(segments, 1):
        at, head = rank[segment.sent], 0
        while at:
            head = max(head, best[at], key=weights.__getitem__)
            at &= at - 1
        weights.append(weights[head] + segment.frames)
        before.append(head)
        at = rank[segment.sent]
        while at < len(best):
            best[at] = max(best[at], number, key=weights.__getitem__)
            at += at & -at
    number = max(range(len(weights)), key=weights.__getitem__)
    chain = []
    while number:
        chain.append(segments[number - 1])
        number = before[number]
    return chain[::-1]


def _nearest(places: list[int], expected: int) -> int:
    """Of the sorted places the nearest; of two as near, the one ahead."""
    at = bisect_left(places, expected)
    return min(places[max(at - 1, 0) : at + 1][::-1], key=lambda place: abs(place - expected))


def _position(sound: _Sound, frame: int) -> int:
    """Where sounding frame number `frame` is in the whole signal."""
    silent = bisect_right(sound.runs, frame, key=lambda run: run[0])
    return frame + sum(frames for _, frames in sound.runs[:silent])
