"""Shared pages as both implementations have them: one range of addresses, filled in chunks.

Control plane's thread only. The range is reserved first and each chunk put at its place, so that
pages of several files or ioctls are contiguous for C.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from xenpvaudio.errors import LocalProtocolError, UnavailableError

from .api import PAGE_BYTES
from .native import check, native

_Thing = TypeVar("_Thing")

MAX_PAGES = 65536
"""256 MB; also the kernel's own limit for one request."""
CHUNK_PAGES = 1024
"""Pages to one ioctl: keeps the kernel's temporary arrays small."""


def check_pages(pages: int) -> int:
    if not 0 < pages <= MAX_PAGES:
        raise LocalProtocolError(f"a range of {pages} shared pages is none that Xen has")
    return pages


def chunks(pages: int, chunk_pages: int = CHUNK_PAGES) -> Iterator[tuple[int, int]]:
    """(first page, pages) of each chunk."""
    for first in range(0, pages, chunk_pages):
        yield first, min(chunk_pages, pages - first)


class PageRange:
    """Reserved addresses for `pages` pages; touching one that was not mapped is a crash, and so is
    writing to one that is `read_only`, which `view` refuses."""

    def __init__(self, pages: int, read_only: bool = False) -> None:
        if os.sysconf("SC_PAGE_SIZE") != PAGE_BYTES:
            raise UnavailableError(
                "this kernel's pages are not Xen's 4096 bytes", hint="use a kernel with 4k pages"
            )
        ffi, self._lib = native()
        self.bytes = check_pages(pages) * PAGE_BYTES
        place = ffi.new("void **")
        check(self._lib.xpa_mem_reserve(self.bytes, place))
        self._start = place[0]
        self.address = int(ffi.cast("uintptr_t", self._start))
        self.read_only = read_only
        view = memoryview(ffi.buffer(self._start, self.bytes)).cast("B")
        self.view = view.toreadonly() if read_only else view

    def map(self, first_page: int, pages: int, fd: int, offset_bytes: int) -> None:
        """Puts pages of a file or device at their place; OSError."""
        ffi, lib = native()
        start = ffi.cast("char *", self._start) + first_page * PAGE_BYTES
        check(lib.xpa_mem_map(start, pages * PAGE_BYTES, fd, offset_bytes, self.read_only))

    def unmap(self) -> None:
        self.view.release()
        check(self._lib.xpa_mem_unmap(self._start, self.bytes))


class SharedPages:
    """api.Grant and api.Mapping; a subclass gives the pages back and arranges notifications."""

    _what = "shared pages"

    def __init__(self, peer_domid: int, refs: Sequence[int], pages: PageRange) -> None:
        self.peer_domid = peer_domid
        self.refs = tuple(refs)
        self._pages: PageRange | None = pages

    def __repr__(self) -> str:
        refs = f"{self.refs[0]}.." if len(self.refs) > 1 else f"{self.refs[0]}"
        return f"{self._what} {refs} ({len(self.refs)} pages) with domain {self.peer_domid}"

    @property
    def is_open(self) -> bool:
        return self._pages is not None

    @property
    def view(self) -> memoryview:
        return self._open_pages().view

    @property
    def address(self) -> int:
        return self._open_pages().address

    def set_unmap_notify(self, offset_byte: int | None, channel_port: int | None) -> None:
        pages = self._open_pages()
        if offset_byte is not None and not 0 <= offset_byte < pages.bytes:
            raise LocalProtocolError(f"byte {offset_byte} is not in {self!r}")
        if offset_byte is not None and pages.read_only:
            raise LocalProtocolError(f"no byte of {self!r} can be cleared: it is only read")
        self._notify(offset_byte, channel_port)

    def close(self) -> None:
        if self._pages is not None:
            pages, self._pages = self._pages, None
            pages.unmap()
            self._give_back()

    def _open_pages(self) -> PageRange:
        if self._pages is None:
            raise LocalProtocolError(f"{self!r}: used after close")
        return self._pages

    def _notify(self, offset_byte: int | None, channel_port: int | None) -> None:
        raise NotImplementedError

    def _give_back(self) -> None:
        raise NotImplementedError


class Registry:
    """Which of a table's things are open: close() closes them, tests ask for leaks."""

    def __init__(self) -> None:
        self._things: dict[int, Any] = {}

    def add(self, thing: Any) -> None:
        self._things[id(thing)] = thing

    def discard(self, thing: Any) -> None:
        self._things.pop(id(thing), None)

    def of_type(self, kind: type[_Thing]) -> list[_Thing]:
        return [thing for thing in self._things.values() if isinstance(thing, kind)]

    def close_all(self) -> None:
        for thing in list(self._things.values()):
            thing.close()

    def assert_empty(self, what: str) -> None:
        if self._things:
            names = ", ".join(map(repr, self._things.values()))
            raise AssertionError(f"{what} still open: {names}")


def is_stale(error: OSError) -> bool:
    """Whether a failed map means that the reference is not (or no longer) granted to us.

    gntdev reports a refused grant as EINVAL, from mmap() (drivers/xen/gntdev.c, gntdev_mmap)."""
    return error.errno in (errno.EINVAL, errno.EFAULT, errno.ENOENT)
