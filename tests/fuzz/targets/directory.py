"""An OPEN of any numbers, and the page directory that it leads to, on pages of any content.

Invariant: an OPEN that is allowed is within the card and the policy; the walk reads each directory
page once and no more of them than the buffer needs; it returns exactly as many references as the
buffer has pages, none of them 0, those that stand in the directory in that order, or it raises
PeerProtocolError (PeerGoneError where a page is not granted); and each page of what is then mapped
is the one that its reference means, for as long as it is mapped and no longer.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from fuzz.source import Source
from xenpvaudio.backend import policy
from xenpvaudio.config import DomainPolicy
from xenpvaudio.errors import ConfigError, PeerGoneError, PeerProtocolError
from xenpvaudio.sndif import packets, page_directory, stream_rules
from xenpvaudio.sndif.card import StreamConfig
from xenpvaudio.sndif.codes import PAGE_BYTES, Direction, PcmFormat, Status
from xenpvaudio.sndif.config_space import Interval
from xenpvaudio.xen import pages

PER_PAGE = page_directory.REFS_PER_PAGE
SIZES = (0, 1, 2, 4096, 8192, 65536, 262144, 1 << 20, PER_PAGE * 4096, 5 << 20, 9 << 20)
EDGES = (0, 1, 2, 3, 4, 7, 255, 48000, 768000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
CARD = StreamConfig(
    0,
    0,
    Direction.PLAYBACK,
    formats=(PcmFormat.S16_LE, PcmFormat.F64_BE, PcmFormat.U8),
    rates=Interval(1, 0xFFFFFFFF),
    channels=Interval(1, 255),
    buffer_bytes=16 << 20,
)
POLICY = DomainPolicy(max_buffer_bytes=8 << 20)
MOST_MAPPED = 64


class _Pages:
    """Pages by reference, made when they are read; `most`: how many may be."""

    def __init__(self, source: Source, most: int) -> None:
        self._source = source
        self._most = most
        self.read: dict[int, bytes] = {}

    def __call__(self, reference: int) -> bytes:
        source = self._source
        assert len(self.read) < self._most, "more directory pages are read than the buffer needs"
        assert reference != 0, "reference 0 is read"
        assert reference not in self.read, f"page {reference} is read twice"
        if source.below(40) == 39:
            raise PeerGoneError("not granted")
        first = 1 + source.below(100)
        refs = list(range(first, first + PER_PAGE))
        for _ in range(source.below(4)):
            refs[source.below(PER_PAGE)] = source.pick(EDGES)
        if source.below(16) == 15:
            refs = [0] * PER_PAGE
        following = (0, 5, 6, reference, 0xFFFFFFFF, first, *self.read)[source.below(8) % 6]
        head = bytearray(PAGE_BYTES)
        struct.pack_into("=I", head, page_directory._NEXT, following)
        struct.pack_into(f"={PER_PAGE}I", head, page_directory._REFS, *refs)
        self.read[reference] = bytes(head)
        return self.read[reference]


def _walk(source: Source, first: int, size_bytes: int) -> tuple[int, ...]:
    """() if there is none."""
    data = (size_bytes + 4095) // 4096
    directory = (data + PER_PAGE - 1) // PER_PAGE
    assert page_directory.pages_needed(size_bytes) == (data, directory)
    read = _Pages(source, directory)
    try:
        refs = page_directory.walk(first, size_bytes, read)
    except (PeerProtocolError, PeerGoneError):
        return ()
    assert len(refs) == data > 0, f"{len(refs)} references for {data} pages"
    assert len(read.read) == directory
    assert 0 not in refs, "a reference is 0"
    held = b"".join(page[page_directory._REFS :] for page in read.read.values())
    assert struct.pack(f"={data}I", *refs) == held[: 4 * data], "not the directory's references"
    return refs


def _open(source: Source) -> tuple[int, int]:
    """Where the directory begins and how long the buffer is; 0, 0 if it is refused."""
    packet = bytearray(source.raw(64).ljust(64, b"\0"))
    if source.below(8):  # mostly one that could be granted
        packet[2] = 0
        fields = (
            source.pick((48000, *EDGES)),
            source.pick((2, 2, 1, 17, 3, source.number())),
            source.pick((2, 1, 8, source.number())),
            source.pick((*SIZES, *EDGES)),
            source.pick((5, *EDGES)),
            source.pick((0, 1024, 4096, *SIZES, *EDGES)),
        )
        struct.pack_into("=IBBxxIII", packet, 8, *fields)
    try:
        request = packets.unpack_request(bytes(packet))
    except PeerProtocolError:
        return 0, 0
    if not isinstance(request, packets.OpenRequest):
        return 0, 0
    if stream_rules.validate_open(request, CARD) is not Status.OK:
        return 0, 0
    config = stream_rules.opened_config(request)
    assert 0 < config.buffer_bytes <= CARD.buffer_bytes
    assert config.buffer_bytes == request.buffer_bytes, "frames that do not fill the buffer"
    assert 0 <= config.period_frames <= config.buffer_frames
    try:
        policy.check_open(config, POLICY)
    except ConfigError as error:
        assert "\n" not in str(error)
        return 0, 0
    assert config.channels <= 64 and config.rate <= 768000
    assert config.buffer_bytes <= POLICY.max_buffer_bytes
    events = config.rate / config.period_frames if config.period_frames else 0
    assert events <= POLICY.max_events_per_sec, f"{events} events a second"
    return request.gref_directory, request.buffer_bytes


def _fill(fd: int) -> None:
    """Page n says n."""
    for number in range(MOST_MAPPED):
        os.pwrite(fd, struct.pack("=I", number), number * PAGE_BYTES)


_FD = os.memfd_create("fuzz")
os.ftruncate(_FD, MOST_MAPPED * PAGE_BYTES)
_fill(_FD)


def _map(refs: tuple[int, ...]) -> None:
    """As both implementations map: a range, each chunk of it put at its place."""
    there = pages.PageRange(len(refs))
    address = there.address
    for first, count in pages.chunks(len(refs), 3):
        for page in range(first, first + count):
            there.map(page, 1, _FD, refs[page] % MOST_MAPPED * PAGE_BYTES)
    for page, reference in enumerate(refs):
        (number,) = struct.unpack_from("=I", there.view, page * PAGE_BYTES)
        assert number == reference % MOST_MAPPED, f"page {page} is that of reference {number}"
    there.unmap()
    maps = Path("/proc/self/maps").read_text() if len(refs) % 8 == 0 else ""
    assert f"{address:x}-" not in maps or "memfd:fuzz" not in maps, "it is still mapped"


def run(data: bytes) -> int:
    """One OPEN, or one walk."""
    source = Source(data)
    first, size_bytes = _open(source)
    if not first and source.below(2):
        first, size_bytes = source.pick((5, 6, *EDGES)), source.pick(SIZES) + source.number()
        if size_bytes == 0:
            return 1
    if size_bytes:
        refs = _walk(source, first, size_bytes)
        if 0 < len(refs) <= MOST_MAPPED:
            _map(refs)
    return 1
