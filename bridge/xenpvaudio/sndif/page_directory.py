"""The page directory that OPEN's gref_directory points to (struct xensnd_page_directory). Pure.

A list of pages; each holds the reference of the next one and up to REFS_PER_PAGE references of the
shared buffer's pages. The frontend builds it; the backend walks it through a function that reads
one page, so that no I/O happens here. The walk is bounded by the buffer's size before it starts:
what a guest writes into the pages can end it early, never prolong it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from xenpvaudio.errors import LocalProtocolError, PeerProtocolError
from xenpvaudio_native import header

from .codes import PAGE_BYTES

_NAME = "xensnd_page_directory"
_NEXT = header.offset(_NAME, "gref_dir_next_page")
_REFS = header.offset(_NAME, "gref")
_REF_BYTES = header.size(_NAME, "gref_dir_next_page")

REFS_PER_PAGE = (PAGE_BYTES - _REFS) // _REF_BYTES

# sndif.h, Assumptions: reference 0 is valid to Xen but never given to a driver.
NO_REF = 0


def pages_needed(buffer_bytes: int) -> tuple[int, int]:
    """Pages of the shared buffer, and pages of the directory that lists them."""
    data = -(-buffer_bytes // PAGE_BYTES)
    return data, -(-data // REFS_PER_PAGE)


def build(buffer_refs: Sequence[int], directory_refs: Sequence[int]) -> list[bytes]:
    """The content of each directory page, PAGE_BYTES each, in the order of `directory_refs`.

    `directory_refs[0]` is what OPEN carries. LocalProtocolError: a reference that is none, or not
    exactly as many directory pages as `buffer_refs` need.
    """
    needed = -(-len(buffer_refs) // REFS_PER_PAGE)
    if not needed or len(directory_refs) != needed:
        raise LocalProtocolError(
            f"{len(directory_refs)} directory pages for {len(buffer_refs)} references"
        )
    if NO_REF in buffer_refs or NO_REF in directory_refs:
        raise LocalProtocolError("grant reference 0 cannot be shared")
    pages = []
    for number, following in enumerate((*directory_refs[1:], NO_REF)):
        refs = buffer_refs[number * REFS_PER_PAGE : (number + 1) * REFS_PER_PAGE]
        page = bytearray(PAGE_BYTES)
        struct.pack_into("=I", page, _NEXT, following)
        struct.pack_into(f"={len(refs)}I", page, _REFS, *refs)
        pages.append(bytes(page))
    return pages


def walk(
    gref_directory: int, buffer_bytes: int, read_page: Callable[[int], bytes]
) -> tuple[int, ...]:
    """The references of the buffer's pages, in order.

    `read_page(reference)` returns a private copy of one page of the guest; it is called at most
    ceil(pages / REFS_PER_PAGE) times, once for each directory page. The caller has checked
    `buffer_bytes` against the stream's configuration. PeerProtocolError: a list that is too short,
    too long or goes round, or a reference that is none.
    """
    remaining, _ = pages_needed(buffer_bytes)
    if remaining <= 0:
        raise PeerProtocolError(f"a buffer of {buffer_bytes} bytes has no pages")
    found: list[int] = []
    visited: set[int] = set()
    reference = gref_directory
    while remaining:
        if reference == NO_REF:
            raise PeerProtocolError(
                f"the page directory ends {remaining} references short of {buffer_bytes} bytes"
            )
        if reference in visited:
            raise PeerProtocolError(f"the page directory comes back to reference {reference}")
        visited.add(reference)
        page = read_page(reference)
        if len(page) != PAGE_BYTES:
            raise LocalProtocolError(f"read {len(page)} bytes of directory page {reference}")
        count = min(remaining, REFS_PER_PAGE)
        refs = struct.unpack_from(f"={count}I", page, _REFS)
        if NO_REF in refs:
            raise PeerProtocolError(f"directory page {reference} holds a reference that is 0")
        found += refs
        remaining -= count
        (reference,) = struct.unpack_from("=I", page, _NEXT)
    if reference != NO_REF:
        raise PeerProtocolError(
            f"the page directory goes on to reference {reference} after its last page"
        )
    return tuple(found)
