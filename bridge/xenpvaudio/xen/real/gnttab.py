"""Grants on real Xen: the kernel's gntalloc (pages of ours) and gntdev (pages of others).

Control plane's thread only. The kernel frees everything when the process dies; a page that the peer
still maps then lives until the peer unmaps it (drivers/xen/gntalloc.c, __del_gref).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xenpvaudio.errors import PeerGoneError, UnavailableError, XenPvAudioError
from xenpvaudio.xen.api import (
    PAGE_BYTES,
    Grant,
    GrantLimitError,
    GrantLimits,
    Mapping,
    grant_error,
    map_error,
)
from xenpvaudio.xen.native import check, native
from xenpvaudio.xen.pages import PageRange, Registry, SharedPages, check_pages, chunks, is_stale

GRANT_LIMIT_FILE = Path("/sys/module/xen_gntalloc/parameters/limit")
MAP_LIMIT_FILE = Path("/sys/module/xen_gntdev/parameters/limit")


def open_device(name: str, result: int) -> int:
    """The descriptor that an xpa_*_open() gave, or UnavailableError naming /dev/xen/<name>."""
    if result >= 0:
        return result
    hints = {
        errno.ENOENT: f"run in a Xen domain, after modprobe xen-{name}",
        errno.EACCES: "run as root",
        errno.EPERM: "run as root",
    }
    raise UnavailableError(
        f"/dev/xen/{name}: {os.strerror(-result)}",
        hint=hints.get(-result, f"is this a Xen domain, and xen-{name} loaded?"),
    )


class _Pages(SharedPages):
    """One range over several chunks, each with the index that its device gave it."""

    def __init__(self, table: XenGrantTable, peer: int, refs: Sequence[int], pages: PageRange):
        super().__init__(peer, refs, pages)
        self.table = table
        self.chunk_indices: list[tuple[int, int]] = []
        """(index in bytes, pages), in order; each chunk's bytes are consecutive."""

    def _notify(self, offset_byte: int | None, channel_port: int | None) -> None:
        _ffi, lib = native()
        action = 0
        if offset_byte is not None:
            action |= lib.XPA_UNMAP_CLEAR_BYTE
        if channel_port is not None:
            action |= lib.XPA_UNMAP_SEND_EVENT
        offset, port = offset_byte or 0, channel_port or 0
        for index, pages in self.chunk_indices:
            if offset < pages * PAGE_BYTES:
                check(self._set_notify(lib, index + offset, action, port))
                return
            offset -= pages * PAGE_BYTES

    def _give_back(self) -> None:
        self.table.live.discard(self)
        _ffi, lib = native()
        results = [self._free(lib, index, pages) for index, pages in self.chunk_indices]
        check(min(results, default=0))

    def _set_notify(self, lib: Any, byte_index: int, action: int, port: int) -> int:
        raise NotImplementedError

    def _free(self, lib: Any, index: int, pages: int) -> int:
        raise NotImplementedError


class _XenGrant(_Pages):
    _what = "grant"

    def _set_notify(self, lib: Any, byte_index: int, action: int, port: int) -> int:
        fd = self.table.gntalloc_fd()
        return int(lib.xpa_gntalloc_unmap_notify(fd, byte_index, action, port))

    def _free(self, lib: Any, index: int, pages: int) -> int:
        return int(lib.xpa_gntalloc_free(self.table.gntalloc_fd(), index, pages))


class _XenMapping(_Pages):
    _what = "mapping of"

    def _set_notify(self, lib: Any, byte_index: int, action: int, port: int) -> int:
        fd = self.table.gntdev_fd()
        return int(lib.xpa_gntdev_unmap_notify(fd, byte_index, action, port))

    def _free(self, lib: Any, index: int, pages: int) -> int:
        return int(lib.xpa_gntdev_unmap(self.table.gntdev_fd(), index, pages))


class XenGrantTable:
    """api.GrantTable by ioctls. The devices are opened at first use: a backend only maps."""

    def __init__(self) -> None:
        self.live = Registry()
        self._gntalloc = -1
        self._gntdev = -1

    @property
    def limits(self) -> GrantLimits:
        return GrantLimits(_number(GRANT_LIMIT_FILE), _number(MAP_LIMIT_FILE))

    def gntalloc_fd(self) -> int:
        if self._gntalloc < 0:
            self._gntalloc = open_device("gntalloc", native()[1].xpa_gntalloc_open())
        return self._gntalloc

    def gntdev_fd(self) -> int:
        if self._gntdev < 0:
            self._gntdev = open_device("gntdev", native()[1].xpa_gntdev_open())
        return self._gntdev

    def grant(self, peer_domid: int, pages: int) -> Grant:
        ffi, lib = native()
        check_pages(pages)
        fd = self.gntalloc_fd()
        refs, index = ffi.new("uint32_t[]", pages), ffi.new("uint64_t *")
        grant = _XenGrant(self, peer_domid, [0] * pages, PageRange(pages))
        try:
            for first, count in chunks(pages):
                check(lib.xpa_gntalloc_alloc(fd, peer_domid, count, refs + first, index))
                grant.chunk_indices.append((index[0], count))
                self._map_chunk(grant, first, count, fd, index[0])
        except OSError as error:
            grant.close()
            raise _grant_error(error, peer_domid, pages) from error
        grant.refs = tuple(refs)
        self.live.add(grant)
        return grant

    def map(self, peer_domid: int, refs: Sequence[int], *, read_only: bool = False) -> Mapping:
        ffi, lib = native()
        pages = check_pages(len(refs))
        fd = self.gntdev_fd()
        array, index = ffi.new("uint32_t[]", list(refs)), ffi.new("uint64_t *")
        mapping = _XenMapping(self, peer_domid, refs, PageRange(pages, read_only))
        try:
            for first, count in chunks(pages):
                check(lib.xpa_gntdev_map(fd, peer_domid, array + first, count, index))
                mapping.chunk_indices.append((index[0], count))
                self._map_chunk(mapping, first, count, fd, index[0])
        except OSError as error:
            mapping.close()
            raise _map_error(error, mapping) from error
        self.live.add(mapping)
        return mapping

    def assert_cleaned_up(self) -> None:
        self.live.assert_empty("grants and mappings")

    def close(self) -> None:
        self.live.close_all()
        for fd in (self._gntalloc, self._gntdev):
            if fd >= 0:
                os.close(fd)
        self._gntalloc = self._gntdev = -1

    @staticmethod
    def _map_chunk(shared: _Pages, first: int, count: int, fd: int, index: int) -> None:
        shared._open_pages().map(first, count, fd, index)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _grant_error(error: OSError, peer_domid: int, pages: int) -> XenPvAudioError:
    if error.errno == errno.ENOSPC:
        limit = _number(GRANT_LIMIT_FILE) or "unknown"
        return GrantLimitError(
            f"cannot grant {pages} more pages: the kernel's limit ({limit}) is reached",
            hint=f"raise it: echo 16384 > {GRANT_LIMIT_FILE}",
        )
    if error.errno == errno.ENOMEM:
        return GrantLimitError(f"cannot grant {pages} pages: {error.strerror}")
    return grant_error(error, peer_domid, pages)


def _map_error(error: OSError, mapping: SharedPages) -> XenPvAudioError:
    if is_stale(error):
        return PeerGoneError(f"{mapping!r} failed: a reference is stale or not for this domain")
    if error.errno in (errno.ENOMEM, errno.ENOSPC):
        return GrantLimitError(
            f"{mapping!r} failed: {error.strerror}",
            hint=f"the kernel's limit is in {MAP_LIMIT_FILE}",
        )
    return map_error(error, mapping)
