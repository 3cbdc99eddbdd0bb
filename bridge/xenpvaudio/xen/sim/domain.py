"""A domain of the simulated hypervisor: grant table, event channels and XenStore by its sockets.

Control plane's thread only (C notifies and acknowledges channels by their descriptors). Hypercalls
wait for the hypervisor's answer, at most 5 s. The hypervisor gives back all that a process held
when its connection ends, however that came about.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from xenpvaudio.errors import LocalProtocolError, PeerGoneError, UnavailableError
from xenpvaudio.xen.api import (
    PAGE_BYTES,
    Channel,
    Domain,
    Grant,
    GrantLimitError,
    GrantLimits,
    Mapping,
    channel_error,
    grant_error,
    map_error,
)
from xenpvaudio.xen.native import native
from xenpvaudio.xen.pages import PageRange, Registry, SharedPages, check_pages, chunks
from xenpvaudio.xen.real.evtchn import ChannelEnd
from xenpvaudio.xen.real.xenstore import CallSoon, open_socket

from .paths import (
    HYPERCALLS,
    MESSAGE_REFS,
    XENSTORE,
    NoRoomError,
    receive_message,
    send_message,
    socket_path,
)
from .tables import GRANT_LIMIT_PAGES, Json

TIMEOUT_SEC = 5.0


class Hypercalls:
    """This process's connection to the hypervisor."""

    def __init__(self, directory: str, domid: int) -> None:
        self.domid = domid
        self._lock = threading.Lock()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.settimeout(TIMEOUT_SEC)
        try:
            self._sock.connect(socket_path(directory, domid, HYPERCALLS))
        except OSError as error:
            self._sock.close()
            raise UnavailableError(
                f"no simulated domain {domid} in {directory}",
                hint="start `python -m xenpvaudio.xen.sim DIR` and create the domain",
            ) from error

    def call(self, op: str, **arguments: object) -> tuple[Json, list[int]]:
        """The answer, and descriptors that are now ours. OSError as from a Xen device;
        UnavailableError if the hypervisor is gone, or if it or this process has no descriptor
        left: then what was asked for is given back."""
        try:
            with self._lock:
                send_message(self._sock, json.dumps({"op": op, **arguments}).encode(), [])
                data, fds = receive_message(self._sock)
        except NoRoomError as lost:
            self._refuse(json.loads(lost.data))
            raise UnavailableError(
                f"the simulated hypervisor's {op}: {os.strerror(errno.EMFILE)}"
            ) from None
        except OSError as error:
            raise UnavailableError(f"the simulated hypervisor does not answer: {error}") from error
        if not data:
            raise UnavailableError("the simulated hypervisor is gone, or destroyed this domain")
        answer: Json = json.loads(data)
        if answer.get("errno") in (errno.EMFILE, errno.ENFILE):
            raise UnavailableError(f"the simulated hypervisor refuses {op}: {answer['why']}")
        if "errno" in answer:
            raise OSError(answer["errno"], answer["why"])
        return answer, fds

    def give_back(self, op: str, **arguments: object) -> None:
        """For close(): with the hypervisor gone there is nothing left to give back to."""
        try:
            self.call(op, **arguments)
        except UnavailableError:
            pass
        except OSError as error:
            raise LocalProtocolError(f"the hypervisor refused {op}: {error.strerror}") from error

    def duplicate(self) -> int:
        """One more descriptor of the connection; OSError if there is no room for one."""
        return os.dup(self._sock.fileno())

    def close(self) -> None:
        self._sock.close()

    def _refuse(self, answer: Json) -> None:
        if "port" in answer:
            self.give_back("close_port", port=answer["port"])
        else:
            self.give_back("release", handle=answer["handle"])


class _SimPages(SharedPages):
    """Handles of the hypervisor's, one for each chunk."""

    def __init__(self, table: SimGrantTable, peer: int, refs: Sequence[int], pages: PageRange):
        super().__init__(peer, refs, pages)
        self._table = table
        self.handles: list[tuple[int, int]] = []
        """(handle, pages), in order."""

    def _notify(self, offset_byte: int | None, channel_port: int | None) -> None:
        offset = offset_byte or 0
        for handle, pages in self.handles:
            if offset < pages * PAGE_BYTES:
                self._table.hypercalls.call(
                    "unmap_notify",
                    handle=handle,
                    offset_byte=None if offset_byte is None else offset,
                    port=channel_port,
                )
                return
            offset -= pages * PAGE_BYTES

    def _give_back(self) -> None:
        self._table.live.discard(self)
        for handle, _pages in self.handles:
            self._table.hypercalls.give_back("release", handle=handle)


class _SimGrant(_SimPages):
    _what = "grant"


class _SimMapping(_SimPages):
    _what = "mapping of"


class SimGrantTable:
    """api.GrantTable. `strict`: mapping a page that is mapped already raises, for tests of code
    that must never do it (Xen itself allows it)."""

    def __init__(self, hypercalls: Hypercalls, strict: bool = False) -> None:
        self.hypercalls = hypercalls
        self.live = Registry()
        self._strict = strict

    @property
    def limits(self) -> GrantLimits:
        return GrantLimits(GRANT_LIMIT_PAGES, None)

    def grant(self, peer_domid: int, pages: int) -> Grant:
        check_pages(pages)
        try:
            answer, fds = self.hypercalls.call("grant", domid=peer_domid, pages=pages)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise GrantLimitError(
                    f"cannot grant {pages} more pages: the limit is {GRANT_LIMIT_PAGES}"
                ) from error
            if error.errno == errno.ENOMEM:
                raise GrantLimitError(f"cannot grant {pages} pages: {error.strerror}") from error
            raise grant_error(error, peer_domid, pages) from error
        first = answer["first_ref"]
        grant = _SimGrant(self, peer_domid, range(first, first + pages), PageRange(pages))
        grant.handles.append((answer["handle"], pages))
        try:
            grant._open_pages().map(0, pages, fds[0], 0)
        finally:
            os.close(fds[0])
        self.live.add(grant)
        return grant

    def map(self, peer_domid: int, refs: Sequence[int], *, read_only: bool = False) -> Mapping:
        pages = check_pages(len(refs))
        self._check_not_mapped(peer_domid, refs)
        mapping = _SimMapping(self, peer_domid, refs, PageRange(pages, read_only))
        try:
            for first, count in chunks(pages, MESSAGE_REFS):
                self._map_chunk(mapping, first, refs[first : first + count])
        except (OSError, UnavailableError) as error:
            mapping.close()
            if isinstance(error, OSError) and error.errno == errno.EINVAL:
                raise PeerGoneError(f"{mapping!r} failed: {error.strerror}") from error
            if isinstance(error, OSError) and error.errno in (errno.ENOMEM, errno.ENOSPC):
                raise GrantLimitError(f"{mapping!r} failed: {error.strerror}") from error
            if isinstance(error, OSError):
                raise map_error(error, mapping) from error
            raise
        self.live.add(mapping)
        return mapping

    def assert_cleaned_up(self) -> None:
        self.live.assert_empty("grants and mappings")

    def close(self) -> None:
        self.live.close_all()

    def _map_chunk(self, mapping: _SimMapping, first: int, refs: Sequence[int]) -> None:
        answer, fds = self.hypercalls.call(
            "map",
            domid=mapping.peer_domid,
            refs=list(refs),
            read_only=mapping._open_pages().read_only,
        )
        mapping.handles.append((answer["handle"], len(refs)))
        try:
            for fd_index, offset_pages, count in answer["runs"]:
                offset_bytes = offset_pages * PAGE_BYTES
                mapping._open_pages().map(first, count, fds[fd_index], offset_bytes)
                first += count
        finally:
            for fd in fds:
                os.close(fd)

    def _check_not_mapped(self, peer_domid: int, refs: Sequence[int]) -> None:
        if not self._strict:
            return
        for mapping in self.live.of_type(_SimMapping):
            twice = set(refs) & set(mapping.refs)
            if mapping.peer_domid == peer_domid and twice:
                raise LocalProtocolError(f"{mapping!r}: {sorted(twice)} would be mapped twice")


class SimEventChannels:
    """api.EventChannels: each end is a datagram socket connected to the other."""

    def __init__(self, hypercalls: Hypercalls) -> None:
        self._hypercalls = hypercalls
        self._live = Registry()

    def bind_unbound(self, peer_domid: int) -> Channel:
        self._require_room()
        try:
            return self._bound(*self._hypercalls.call("bind_unbound", domid=peer_domid))
        except OSError as error:
            raise channel_error(error, peer_domid) from error

    def bind_interdomain(self, peer_domid: int, port: int) -> Channel:
        self._require_room()
        try:
            answer, fds = self._hypercalls.call("bind_interdomain", domid=peer_domid, port=port)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise PeerGoneError(
                    f"domain {peer_domid} offers no event channel {port} to this domain"
                ) from error
            raise channel_error(error, peer_domid) from error
        return self._bound(answer, fds)

    def assert_cleaned_up(self) -> None:
        self._live.assert_empty("event channels")

    def close(self) -> None:
        self._live.close_all()

    def _require_room(self) -> None:
        """As on real Xen, where a channel's descriptor is opened first: what fails here is still
        offered."""
        try:
            os.close(self._hypercalls.duplicate())
        except OSError as error:
            raise UnavailableError(f"no event channel: {error.strerror}") from error

    def _bound(self, answer: Json, fds: list[int]) -> Channel:
        kind = native()[1].XPA_CHANNEL_SIM
        channel = ChannelEnd(fds[0], answer["port"], kind, self._closed)
        self._live.add(channel)
        return channel

    def _closed(self, channel: ChannelEnd) -> None:
        self._live.discard(channel)
        self._hypercalls.give_back("close_port", port=channel.port)


@dataclass(slots=True)
class SimDomain(Domain):
    """A Domain that also ends its connection to the hypervisor."""

    hypercalls: Hypercalls

    def close(self) -> None:
        Domain.close(self)
        self.hypercalls.close()


def connect(
    directory: str, domid: int, call_soon: CallSoon | None = None, *, strict: bool = False
) -> SimDomain:
    """This process as a part of domain `domid`. UnavailableError if the hypervisor or the domain
    is not there. Several processes may be in one domain, as in a real one."""
    directory = os.path.abspath(directory)
    hypercalls = Hypercalls(directory, domid)
    try:
        path = socket_path(directory, domid, XENSTORE)
        store = open_socket(path, domid=domid, call_soon=call_soon)
    except BaseException:
        hypercalls.close()
        raise
    grants, channels = SimGrantTable(hypercalls, strict), SimEventChannels(hypercalls)
    return SimDomain(domid, store, grants, channels, hypercalls)
