"""What the backend reads and writes of a guest's pages by itself, beside the data loop."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from xenpvaudio.errors import PeerGoneError
from xenpvaudio.logs.peer_log import PeerLog
from xenpvaudio.sndif.codes import PAGE_BYTES, Status
from xenpvaudio.xen.api import Domain, GrantLimitError


def read_page(domain: Domain, frontend_id: int, ref: int) -> bytes:
    """A copy of a granted page; PeerGoneError if the reference is none."""
    page = domain.grants.map(frontend_id, [ref], read_only=True)
    try:
        return bytes(page.view[:PAGE_BYTES])
    finally:
        page.close()


def write_buffer(
    domain: Domain,
    frontend_id: int,
    refs: Sequence[int],
    begin: int,
    data: bytes,
    *,
    where: str,
    log: logging.Logger | PeerLog,
) -> Status:
    """A playback buffer is mapped to be read: the pages that `data` goes to, from byte `begin` of
    the buffer on, are mapped anew for as long as it takes to write it."""
    first, last = begin // PAGE_BYTES, (begin + len(data) - 1) // PAGE_BYTES
    try:
        pages = domain.grants.map(frontend_id, list(refs[first : last + 1]))
    except PeerGoneError:  # granted to be read only
        return Status.EACCES
    except GrantLimitError as error:
        log.error("%s: %s", where, error)
        return Status.ENOMEM
    begin -= first * PAGE_BYTES
    pages.view[begin : begin + len(data)] = data
    pages.close()
    return Status.OK
