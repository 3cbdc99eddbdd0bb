"""page_directory.py: what the frontend builds the backend walks, and no graph of pages holds it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenpvaudio.errors import LocalProtocolError, PeerProtocolError
from xenpvaudio.sndif.page_directory import REFS_PER_PAGE, build, pages_needed, walk

PAGE = 4096


class Guest:
    """A guest's pages by reference; counts how often each is read."""

    def __init__(self, pages: dict[int, bytes]) -> None:
        self.pages = pages
        self.reads: list[int] = []

    def __call__(self, reference: int) -> bytes:
        self.reads.append(reference)
        return self.pages[reference]


def page(following: int, refs: list[int]) -> bytes:
    return struct.pack(f"={1 + len(refs)}I", following, *refs).ljust(PAGE, b"\0")


def test_a_page_holds_1023_references_after_the_next_one() -> None:
    assert REFS_PER_PAGE == 1023
    (only,) = build([17, 18], [9])
    assert only == page(0, [17, 18])


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (1, (1, 1)),
        (4096, (1, 1)),
        (4097, (2, 1)),
        (1023 * PAGE, (1023, 1)),
        (1023 * PAGE + 1, (1024, 2)),
        (2**32 - 1, (2**20, 1026)),
    ],
)
def test_pages_are_counted_up(size_bytes: int, expected: tuple[int, int]) -> None:
    assert pages_needed(size_bytes) == expected


def test_directory_pages_are_linked_in_order() -> None:
    refs = list(range(100, 100 + 2 * REFS_PER_PAGE + 1))
    first, second, third = build(refs, [7, 5, 6])
    assert first == page(5, refs[:REFS_PER_PAGE])
    assert second == page(6, refs[REFS_PER_PAGE : 2 * REFS_PER_PAGE])
    assert third == page(0, refs[-1:])


@given(st.integers(1, 3 * REFS_PER_PAGE), st.integers(1, PAGE))
def test_walk_returns_what_build_was_given(count: int, last_bytes: int) -> None:
    refs = [2**32 - 1 - number for number in range(count)]
    directory = list(range(1, 1 + pages_needed(count * PAGE)[1]))
    guest = Guest(dict(zip(directory, build(refs, directory), strict=True)))
    assert walk(directory[0], (count - 1) * PAGE + last_bytes, guest) == tuple(refs)
    assert guest.reads == directory


def test_builder_refuses_wrong_page_counts_and_reference_0() -> None:
    with pytest.raises(LocalProtocolError, match="2 directory pages for 5 references"):
        build([1, 2, 3, 4, 5], [8, 9])
    with pytest.raises(LocalProtocolError, match="0 directory pages for 0"):
        build([], [])
    with pytest.raises(LocalProtocolError, match="reference 0"):
        build([1, 0], [8])
    with pytest.raises(LocalProtocolError, match="reference 0"):
        build([1], [0])


def test_cyclic_directory_ends_at_the_first_repeat() -> None:
    """snd_be follows such a list for ever."""
    full = [1] * REFS_PER_PAGE
    guest = Guest({8: page(9, full), 9: page(8, full)})
    with pytest.raises(PeerProtocolError, match="comes back to reference 8"):
        walk(8, 3 * REFS_PER_PAGE * PAGE, guest)
    assert guest.reads == [8, 9]


def test_directory_pointing_at_itself_is_refused_even_if_one_page_is_enough() -> None:
    guest = Guest({8: page(8, [1])})
    with pytest.raises(PeerProtocolError, match="goes on to reference 8"):
        walk(8, PAGE, guest)
    assert guest.reads == [8]


def test_short_directory_is_refused() -> None:
    guest = Guest({8: page(0, [1] * REFS_PER_PAGE)})
    with pytest.raises(PeerProtocolError, match="ends 1 references short"):
        walk(8, REFS_PER_PAGE * PAGE + 1, guest)


def test_reference_0_among_the_needed_ones_is_refused() -> None:
    with pytest.raises(PeerProtocolError, match="holds a reference that is 0"):
        walk(8, 3 * PAGE, Guest({8: page(0, [1, 0, 3])}))


def test_references_past_the_buffer_are_not_looked_at() -> None:
    assert walk(8, 2 * PAGE, Guest({8: page(0, [1, 2, 0, 4])})) == (1, 2)


def test_directory_reference_0_is_refused_without_reading() -> None:
    guest = Guest({})
    with pytest.raises(PeerProtocolError, match="ends 1 references short"):
        walk(0, PAGE, guest)
    assert guest.reads == []


def test_empty_buffer_has_no_directory() -> None:
    with pytest.raises(PeerProtocolError, match="0 bytes"):
        walk(8, 0, Guest({}))


def test_a_page_of_the_wrong_size_is_our_bug() -> None:
    with pytest.raises(LocalProtocolError, match="read 4095 bytes"):
        walk(8, PAGE, Guest({8: bytes(PAGE - 1)}))


@given(
    links=st.lists(st.integers(0, 6), min_size=6, max_size=6),
    fill=st.sampled_from([0, 1, 2**32 - 1]),
    start=st.integers(0, 6),
    buffer_bytes=st.integers(0, 5 * REFS_PER_PAGE * PAGE),
)
def test_walk_ends_on_any_page_graph(
    links: list[int], fill: int, start: int, buffer_bytes: int
) -> None:
    pages = {n + 1: page(link, [fill] * REFS_PER_PAGE) for n, link in enumerate(links)}
    guest = Guest(pages)
    data_pages, directory_pages = pages_needed(buffer_bytes)
    try:
        found = walk(start, buffer_bytes, guest)
    except PeerProtocolError:
        pass
    else:
        assert found == (fill,) * data_pages
    assert len(guest.reads) == len(set(guest.reads)) <= directory_pages
