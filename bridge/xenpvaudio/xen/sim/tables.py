"""What the simulated hypervisor knows of grants, mappings and event channels.

One thread, the hypervisor's. A batch of grants is one sealed memory file; mapping it is being given
its descriptor, so a domain reaches only what was granted to it, and pages stay mapped after their
owner has died. An event channel is a pair of connected datagram sockets. The hypervisor keeps a
descriptor of everything, which is how it can speak for a process that was killed.

Errors are OSErrors with the errno that Linux's Xen devices give.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from typing import Any, NamedTuple

from xenpvaudio.xen.api import PAGE_BYTES

GRANT_LIMIT_PAGES = 1024
"""Of one domain: gntalloc's default limit."""
FIRST_REF, FIRST_PORT = 8, 2
"""The lowest numbers are the console's and XenStore's, as in Xen."""

Json = dict[str, Any]


def refuse(code: int, why: str) -> OSError:
    return OSError(code, why)


class Batch:
    """Pages granted in one request: refs first_ref to first_ref + pages - 1."""

    def __init__(self, domid: int, peer: int, first_ref: int, pages: int) -> None:
        self.domid, self.peer, self.first_ref, self.pages = domid, peer, first_ref, pages
        self.granted = True
        self.mapped = 0
        self.fd = os.memfd_create(
            f"xen-dom{domid}-ref{first_ref}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        )
        os.ftruncate(self.fd, pages * PAGE_BYTES)
        # Else the owner could cut the file and crash whoever mapped it.
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)
        self._read_only_fd = -1

    def mapping_fd(self, read_only: bool) -> int:
        """For who maps it. One that is only to be read cannot be made writable by mprotect(), as
        with Xen's GNTMAP_readonly."""
        if not read_only:
            return self.fd
        if self._read_only_fd < 0:
            self._read_only_fd = os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)
        return self._read_only_fd

    def drop_if_unused(self) -> None:
        if not self.granted and not self.mapped and self.fd >= 0:
            for fd in (self.fd, self._read_only_fd):
                if fd >= 0:
                    os.close(fd)
            self.fd = self._read_only_fd = -1

    def clear_byte(self, page: int, offset: int) -> None:
        os.pwrite(self.fd, b"\0", page * PAGE_BYTES + offset)


class Page(NamedTuple):
    batch: Batch
    number: int


class Notify(NamedTuple):
    """What the peer is told when these pages go (SET_UNMAP_NOTIFY)."""

    offset_byte: int | None
    port: int | None


class Held:
    """A grant or a mapping of one process: its pages in order."""

    def __init__(self, kind: str, pages: list[Page]) -> None:
        self.kind = kind
        self.pages = pages
        self.notify = Notify(None, None)


class Port:
    """One end. `end` is the hypervisor's duplicate; `offered` the other while nobody has it."""

    def __init__(
        self, domid: int, number: int, peer: int, end: socket.socket, offered: socket.socket | None
    ) -> None:
        self.domid, self.number, self.peer = domid, number, peer
        self.end, self.offered = end, offered
        self.closing = False

    def send_event(self) -> None:
        with contextlib.suppress(OSError):  # plenty pending, or nobody there
            self.end.send(b"\1", socket.MSG_DONTWAIT)

    def close(self) -> None:
        self.end.close()
        if self.offered:
            self.offered.close()


class DomainTables:
    """Numbers are never used twice in a domain's life, so a stale one is always noticed."""

    def __init__(self) -> None:
        self.refs: dict[int, Page] = {}
        self.ports: dict[int, Port] = {}
        self.next_ref = FIRST_REF
        self.next_port = FIRST_PORT


class Process:
    """What one process of a domain holds; it all goes when its connection ends."""

    def __init__(self, tables: dict[int, DomainTables], domid: int) -> None:
        self.domid = domid
        self._all = tables
        self._mine = tables[domid]
        self._held: dict[int, Held] = {}
        self._ports: dict[int, Port] = {}
        self._next_handle = 1

    def grant(self, peer: int, pages: int) -> tuple[Json, list[int]]:
        if peer not in self._all:
            raise refuse(errno.EINVAL, f"there is no domain {peer}")
        if pages < 1:
            raise refuse(errno.EINVAL, "no pages")
        if len(self._mine.refs) + pages > GRANT_LIMIT_PAGES:
            raise refuse(errno.ENOSPC, "the domain's grants are used up")
        first = self._mine.next_ref
        self._mine.next_ref += pages
        batch = Batch(self.domid, peer, first, pages)
        granted = [Page(batch, number) for number in range(pages)]
        self._mine.refs.update({first + page.number: page for page in granted})
        return {"handle": self._hold("grant", granted), "first_ref": first}, [batch.fd]

    def map(self, domid: int, refs: list[int], read_only: bool) -> tuple[Json, list[int]]:
        """Answers with runs [descriptor's index, first page in it, pages], in order of `refs`."""
        tables = self._all.get(domid)
        pages = []
        for ref in refs:
            page = tables.refs.get(ref) if tables else None
            if page is None or page.batch.peer != self.domid:
                raise refuse(errno.EINVAL, f"domain {domid} grants no page {ref} to us")
            pages.append(page)
        # First: what fails here has taken nothing.
        page_fds = [page.batch.mapping_fd(read_only) for page in pages]
        fds = list(dict.fromkeys(page_fds))
        runs: list[list[int]] = []
        before: Page | None = None
        for page, fd in zip(pages, page_fds, strict=True):
            page.batch.mapped += 1
            if before and page == Page(before.batch, before.number + 1):
                runs[-1][2] += 1
            else:
                runs.append([fds.index(fd), page.number, 1])
            before = page
        return {"handle": self._hold("mapping", pages), "runs": runs}, fds

    def release(self, handle: int) -> None:
        held = self._held.pop(handle, None)
        if held is None:
            raise refuse(errno.EINVAL, f"handle {handle} was given back twice, or never taken")
        self._tell(held)
        for page in held.pages:
            batch = page.batch
            if held.kind == "grant":
                batch.granted = False
                self._mine.refs.pop(batch.first_ref + page.number, None)
            else:
                batch.mapped -= 1
            batch.drop_if_unused()

    def set_notify(self, handle: int, offset_byte: int | None, port: int | None) -> None:
        held = self._held.get(handle)
        if held is None or (port is not None and port not in self._ports):
            raise refuse(errno.EINVAL, "no such pages, or no such event channel")
        if offset_byte is not None and not 0 <= offset_byte < len(held.pages) * PAGE_BYTES:
            raise refuse(errno.EINVAL, "no such byte")
        held.notify = Notify(offset_byte, port)

    def bind_unbound(self, peer: int) -> tuple[Json, list[int]]:
        if peer not in self._all:
            raise refuse(errno.EINVAL, f"there is no domain {peer}")
        mine, other = socket.socketpair(type=socket.SOCK_DGRAM)
        port = self._port(peer, mine, other)
        # Xen sets one event pending at whoever takes the other end, for those lost before.
        port.send_event()
        return {"port": port.number}, [mine.fileno()]

    def bind_interdomain(self, domid: int, number: int) -> tuple[Json, list[int]]:
        tables = self._all.get(domid)
        remote = tables.ports.get(number) if tables else None
        if remote is None or remote.peer != self.domid or not remote.offered:
            raise refuse(errno.EINVAL, f"domain {domid} offers no port {number} to us")
        end, remote.offered = remote.offered, None
        return {"port": self._port(domid, end, None).number}, [end.fileno()]

    def close_port(self, number: int) -> None:
        port = self._ports.pop(number, None)
        if port is None or port.closing:
            raise refuse(errno.EINVAL, f"port {number} was closed twice, or never bound")
        # Pages that were to announce their end through it still do, as with Linux's reference.
        if any(held.notify.port == number for held in self._held.values()):
            port.closing = True
            self._ports[number] = port
        else:
            self._drop_port(port)

    def close(self) -> None:
        """The process is dead: first what it wanted said, then its things."""
        for handle in list(self._held):
            self.release(handle)
        for port in list(self._ports.values()):
            self._drop_port(port)
        self._ports.clear()

    def report(self) -> list[str]:
        lines = [
            f"domain {self.domid}: {held.kind} of {len(held.pages)} pages from reference "
            f"{held.pages[0].batch.first_ref + held.pages[0].number} of domain "
            f"{held.pages[0].batch.domid}"
            for held in self._held.values()
        ]
        return lines + [f"domain {self.domid}: port {number}" for number in self._ports]

    def _hold(self, kind: str, pages: list[Page]) -> int:
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._held[handle] = Held(kind, pages)
        return handle

    def _tell(self, held: Held) -> None:
        offset, number = held.notify
        if offset is not None:
            page = held.pages[offset // PAGE_BYTES]
            page.batch.clear_byte(page.number, offset % PAGE_BYTES)
        port = self._ports.get(number) if number is not None else None
        if port:
            port.send_event()
            if port.closing and all(other.notify.port != number for other in self._held.values()):
                self._drop_port(self._ports.pop(port.number))

    def _port(self, peer: int, end: socket.socket, offered: socket.socket | None) -> Port:
        number = self._mine.next_port
        self._mine.next_port += 1
        port = Port(self.domid, number, peer, end, offered)
        self._mine.ports[number] = self._ports[number] = port
        return port

    def _drop_port(self, port: Port) -> None:
        self._mine.ports.pop(port.number, None)
        port.close()
