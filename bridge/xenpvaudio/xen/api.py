"""The seams: what the control plane may ask of Xen, and the values that cross.

Two implementations stand behind these Protocols, real Xen and the simulation, and the same tests
run over both. Everything is called from the control plane's one thread; calls are synchronous and
bounded in time. Watch callbacks run in that thread too, from the asyncio loop, never from inside a
call.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from xenpvaudio.errors import UnavailableError, XenPvAudioError

PAGE_BYTES = 4096
"""Xen's page, whatever the kernel's is (xen/include/public/arch-*.h)."""

T = TypeVar("T")
Names: TypeAlias = list[str]
LostCallback: TypeAlias = Callable[["XenStoreError"], None]
SlowCallback: TypeAlias = Callable[[int, float], None]
WatchCallback: TypeAlias = Callable[[str], None]


class XenStoreError(XenPvAudioError):
    """XenStore refused or failed; `code` is the errno it gave (io/xs_wire.h, xsd_errors)."""

    code = errno.EIO

    def __init__(self, message: str, *, hint: str = "", code: int | None = None) -> None:
        super().__init__(message, hint=hint)
        if code is not None:
            self.code = code


class NotFoundError(XenStoreError):
    """ENOENT: there is no such node."""

    code = errno.ENOENT


class AccessError(XenStoreError):
    """EACCES, EPERM, EROFS: this domain may not do that there."""

    code = errno.EACCES


class QuotaError(XenStoreError):
    """ENOSPC, E2BIG, ENOMEM: this domain's share is used up, or one value is too long."""

    code = errno.ENOSPC


class StoreGoneError(XenStoreError):
    """The connection broke, or no answer came in time."""

    code = errno.ECONNRESET


class ConflictError(XenStoreError):
    """A transaction met somebody else's change in every one of its attempts."""

    code = errno.EAGAIN


class GrantLimitError(XenPvAudioError):
    """The kernel will not grant or map that many pages."""


_BY_CODE: dict[int, type[XenStoreError]] = {
    errno.ENOENT: NotFoundError,
    errno.EACCES: AccessError,
    errno.EPERM: AccessError,
    errno.EROFS: AccessError,
    errno.ENOSPC: QuotaError,
    errno.E2BIG: QuotaError,
    errno.ENOMEM: QuotaError,
    errno.ECONNRESET: StoreGoneError,
    errno.EAGAIN: ConflictError,
}


def store_error(code: int, what: str) -> XenStoreError:
    """The error class for an errno, saying what was tried: `what` is like "read a/b"."""
    kind = _BY_CODE.get(code, XenStoreError)
    return kind(f"XenStore: cannot {what}: {os.strerror(code)}", code=code)


def channel_error(error: OSError, peer_domid: int) -> UnavailableError:
    """For a channel that Xen or the kernel will not make."""
    return UnavailableError(f"no event channel with domain {peer_domid}: {error.strerror}")


def grant_error(error: OSError, peer_domid: int, pages: int) -> UnavailableError:
    """For pages that Xen or the kernel will not grant, for another reason than their number."""
    return UnavailableError(f"cannot grant {pages} pages to domain {peer_domid}: {error.strerror}")


def map_error(error: OSError, mapping: object) -> UnavailableError:
    """The same of pages that it will not map."""
    return UnavailableError(f"{mapping!r} failed: {error.strerror}")


class Nodes(Protocol):
    """What both the store and a transaction offer. A relative path starts at the own home,
    /local/domain/<domid>. Values are text; bytes that are not UTF-8 survive a round trip."""

    def read(self, path: str) -> str: ...
    def get(self, path: str, default: str | None = None) -> str | None:
        """read(), or `default` where there is no such node."""

    def write(self, path: str, value: str) -> None:
        """Makes missing parents, with empty values, as XenStore does."""

    def mkdir(self, path: str) -> None: ...
    def remove(self, path: str) -> None:
        """With everything below. No error if the node is absent and its parent is there."""

    def exists(self, path: str) -> bool: ...
    def list(self, path: str) -> Names:
        """Names of the immediate children, in no order that means anything."""

    def get_perms(self, path: str) -> Names:
        """Like ["n1", "r0"]: owner 1 and no access for others, then domain 0 may read."""

    def set_perms(self, path: str, perms: Sequence[str]) -> None: ...


class Txn(Nodes, Protocol):
    """One attempt of a transaction; sees its own writes, and nobody sees them before the end."""


class Watch(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def pending(self) -> bool:
        """Events came that are not told yet."""

    def skip(self) -> None:
        """What is pending will not be told: for who looks now anyway. An answer comes after every
        event before it, so if nothing is pending after a look, what it saw is the newest (over
        the kernel's device an event may still be a moment late, and is then told)."""

    def cancel(self) -> None:
        """No callback follows, not even one already on its way. Idempotent; never raises."""


class XenStore(Nodes, Protocol):
    on_lost: LostCallback | None
    """Told once for each time the connection breaks."""
    on_slow: SlowCallback | None
    """Told now and then while answers are waited for: how many, and seconds for them together."""

    @property
    def domid(self) -> int: ...
    def transact(self, fn: Callable[[Txn], T], attempts: int = 10) -> T:
        """Runs `fn` until what it read is still true when it ends. `fn` runs once per attempt,
        so it must have no other effect. ConflictError after `attempts`; an exception from `fn`
        ends the transaction with nothing written."""

    def watch(self, path: str, callback: WatchCallback) -> Watch:
        """Calls back with the changed path (relative if `path` is), first right after
        registration and again after a reconnection. "@introduceDomain" and "@releaseDomain" are
        paths too. Of equal events that nobody was told of yet one is told; of very many
        different ones, one with the path of the watch."""

    def domain_path(self, domid: int) -> str: ...
    def close(self) -> None: ...


class Grant(Protocol):
    """Pages of ours that one other domain may map. Zeroed at first."""

    @property
    def refs(self) -> tuple[int, ...]: ...
    @property
    def view(self) -> memoryview:
        """The pages as contiguous bytes, writable unless they were mapped to be read only. Keep no
        slice of it past close()."""

    @property
    def address(self) -> int:
        """Where `view` starts in this process, for C."""

    def set_unmap_notify(self, offset_byte: int | None, channel_port: int | None) -> None:
        """When our end goes away, by close() or by death, clear that byte of `view` and send an
        event through that local port (either may be None). One setting; the last one counts."""

    def close(self) -> None:
        """Idempotent. The peer's mapping of the pages lives on until it unmaps them."""


class Mapping(Grant, Protocol):
    """Pages of another domain, here. They stay readable after that domain died."""


class GrantLimits(NamedTuple):
    grant_pages: int | None
    """Pages that this machine's kernel grants at once, all processes together; None: unknown."""
    map_pages: int | None


class GrantTable(Protocol):
    @property
    def limits(self) -> GrantLimits: ...
    def grant(self, peer_domid: int, pages: int) -> Grant:
        """GrantLimitError where the kernel's limit is reached; UnavailableError where Xen or the
        kernel refuses otherwise."""

    def map(self, peer_domid: int, refs: Sequence[int], *, read_only: bool = False) -> Mapping:
        """One contiguous range in the order of `refs`. PeerGoneError if a reference is stale or
        not for us, else as grant(). `read_only`: for what we have no reason to write; whatever
        writes there, in Python or in C, is stopped, and no byte of it can be cleared by
        set_unmap_notify()."""

    def assert_cleaned_up(self) -> None:
        """For tests: AssertionError that names the grants and mappings still open."""

    def close(self) -> None: ...


class Channel(Protocol):
    """One end of one event channel; `port`, `fd` and `kind` are what C needs (xen_io.cdef.h)."""

    @property
    def port(self) -> int: ...
    @property
    def fd(self) -> int:
        """Readable when events are pending; carries nothing but this channel."""

    @property
    def kind(self) -> int:
        """0 real, 1 simulated."""

    def notify(self) -> None:
        """Never blocks. A peer that is not there (yet, or any more) is no error."""

    def ack(self) -> int:
        """Takes the pending events, before the look at shared memory; how many there were."""

    def close(self) -> None: ...


class EventChannels(Protocol):
    def bind_unbound(self, peer_domid: int) -> Channel:
        """Offers a port to that domain alone. UnavailableError where there is none left, here and
        below."""

    def bind_interdomain(self, peer_domid: int, port: int) -> Channel:
        """Takes up an offered port. One event is pending at once, as in Xen, for what was sent
        before. PeerGoneError if the port is not offered to us (any more)."""

    def assert_cleaned_up(self) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class Domain:
    """What one domain's control plane holds of Xen."""

    domid: int
    store: XenStore
    grants: GrantTable
    channels: EventChannels

    def name(self, domid: int) -> str:
        """The name xl gave the domain, for people; "domain <n>" where we may not read it."""
        try:
            name = self.known_name(domid)
        except XenStoreError:
            name = None
        return name or f"domain {domid}"

    def known_name(self, domid: int) -> str | None:
        """The name xl gave the domain; None where we may not read it. The domain itself cannot
        write it (libxl_create.c, libxl__domain_make)."""
        return self._of_domain(domid, "name")

    def uuid(self, domid: int) -> str | None:
        """The domain's UUID; None where we may not read it."""
        vm = self._of_domain(domid, "vm")  # "/vm/UUID"
        return vm.rpartition("/")[2] if vm else None

    def _of_domain(self, domid: int, node: str) -> str | None:
        try:
            return self.store.get(f"{self.store.domain_path(domid)}/{node}") or None
        except AccessError:
            return None

    def close(self) -> None:
        """Grants before channels: unmap notifications need their ports."""
        self.grants.close()
        self.channels.close()
        self.store.close()
