"""Grants, mappings and event channels of the simulated hypervisor, within one process."""

from __future__ import annotations

import ctypes
import errno
import mmap

import pytest

from bridge.xen.sim_world import bound, rights, wait_for
from xenpvaudio.errors import (
    LocalProtocolError,
    PeerGoneError,
)
from xenpvaudio.xen.api import PAGE_BYTES, GrantLimitError
from xenpvaudio.xen.sim import (
    HypervisorProcess,
    SimDomain,
    Toolstack,
    connect,
)

# ---- pages ----


def test_granted_page_is_the_same_page(host: SimDomain, guest: SimDomain) -> None:
    grant = guest.grants.grant(0, 1)
    assert bytes(grant.view) == bytes(PAGE_BYTES)
    mapping = host.grants.map(1, grant.refs)
    grant.view[17] = 99
    assert mapping.view[17] == 99
    mapping.view[PAGE_BYTES - 1] = 7
    assert grant.view[PAGE_BYTES - 1] == 7


def test_mapping_is_contiguous_in_the_order_of_references(
    host: SimDomain, guest: SimDomain
) -> None:
    grants = [guest.grants.grant(0, pages) for pages in (3, 1, 200)]
    refs = [ref for grant in grants for ref in grant.refs]
    for grant in grants:
        for page, ref in enumerate(grant.refs):
            grant.view[page * PAGE_BYTES] = ref % 251
    shuffled = refs[::-1] + refs[:2] + refs[:1]  # a page may be mapped several times
    mapping = host.grants.map(1, shuffled)
    assert mapping.refs == tuple(shuffled)
    assert len(mapping.view) == len(shuffled) * PAGE_BYTES
    assert [mapping.view[i * PAGE_BYTES] for i in range(len(shuffled))] == [
        ref % 251 for ref in shuffled
    ]


def test_page_that_is_mapped_to_be_read_cannot_be_written(
    host: SimDomain, guest: SimDomain
) -> None:
    grant = guest.grants.grant(0, 2)
    mapping = host.grants.map(1, grant.refs, read_only=True)
    grant.view[17] = 99
    assert mapping.view[17] == 99
    with pytest.raises(TypeError, match="read-only"):
        mapping.view[17] = 1
    with pytest.raises(LocalProtocolError, match="only read"):
        mapping.set_unmap_notify(17, None)
    # C is stopped by the processor, and cannot help itself to more
    libc = ctypes.CDLL(None, use_errno=True)
    begin, size = ctypes.c_void_p(mapping.address), ctypes.c_size_t(len(mapping.view))
    assert rights(mapping.address) == "r--s"
    assert libc.mprotect(begin, size, mmap.PROT_READ | mmap.PROT_WRITE) == -1
    assert ctypes.get_errno() == errno.EACCES
    assert rights(mapping.address) == "r--s"


def test_page_may_be_mapped_to_be_read_and_to_be_written(host: SimDomain, guest: SimDomain) -> None:
    grant = guest.grants.grant(0, 1)
    mapping = host.grants.map(1, grant.refs, read_only=True)
    other = host.grants.map(1, grant.refs)
    other.view[5] = 7
    other.close()
    assert (grant.view[5], mapping.view[5]) == (7, 7)
    assert rights(mapping.address) == "r--s"


def test_every_page_may_be_a_grant_of_its_own(host: SimDomain, guest: SimDomain) -> None:
    grants = [guest.grants.grant(0, 1) for _ in range(300)]
    mapping = host.grants.map(1, [grant.refs[0] for grant in grants])
    for number, grant in enumerate(grants):
        grant.view[5] = number % 256
    assert [mapping.view[i * PAGE_BYTES + 5] for i in range(300)] == [i % 256 for i in range(300)]


def test_address_is_where_the_view_is(guest: SimDomain) -> None:
    grant = guest.grants.grant(0, 2)
    assert grant.address % PAGE_BYTES == 0
    ctypes.memset(grant.address + 5000, 42, 1)
    assert grant.view[5000] == 42


def test_only_the_domain_that_was_granted_may_map(
    hypervisor: HypervisorProcess, toolstack: Toolstack, guest: SimDomain
) -> None:
    toolstack.create_domain(2, "thief")
    grant = guest.grants.grant(0, 1)
    thief = connect(hypervisor.directory, 2)
    with pytest.raises(PeerGoneError):
        thief.grants.map(1, grant.refs)
    thief.close()


def test_stale_and_unknown_references_are_peer_gone(host: SimDomain, guest: SimDomain) -> None:
    grant = guest.grants.grant(0, 2)
    stale = grant.refs
    grant.close()
    for refs in (stale, [999999], [2**32 - 1]):
        with pytest.raises(PeerGoneError, match="domain 1"):
            host.grants.map(1, refs)
    again = guest.grants.grant(0, 2)
    with pytest.raises(PeerGoneError):
        host.grants.map(1, [again.refs[0], stale[0]])
    host.grants.assert_cleaned_up()
    assert not set(again.refs) & set(stale)


def test_mapping_outlives_the_grant(host: SimDomain, guest: SimDomain) -> None:
    grant = guest.grants.grant(0, 1)
    grant.view[0] = 1
    mapping = host.grants.map(1, grant.refs)
    grant.close()
    assert mapping.view[0] == 1
    mapping.view[0] = 2


def test_grants_are_limited(guest: SimDomain) -> None:
    limit = guest.grants.limits.grant_pages
    assert limit == 1024
    grant = guest.grants.grant(0, limit)
    with pytest.raises(GrantLimitError, match="1024"):
        guest.grants.grant(0, 1)
    grant.close()
    guest.grants.grant(0, 1)


@pytest.mark.parametrize("pages", [0, -1, 10**9])
def test_impossible_sizes_are_refused(guest: SimDomain, pages: int) -> None:
    with pytest.raises(LocalProtocolError):
        guest.grants.grant(0, pages)
    with pytest.raises(LocalProtocolError):
        guest.grants.map(0, [])


def test_use_after_close_is_refused_and_close_is_idempotent(guest: SimDomain) -> None:
    grant = guest.grants.grant(0, 1)
    view = grant.view
    grant.close()
    grant.close()
    for use in (lambda: grant.view, lambda: grant.address, lambda: grant.set_unmap_notify(0, None)):
        with pytest.raises(LocalProtocolError, match="after close"):
            use()
    with pytest.raises(ValueError, match="released"):
        view[0]


def test_double_map_is_found_where_it_is_asked_for(
    hypervisor: HypervisorProcess, guest: SimDomain
) -> None:
    grant = guest.grants.grant(0, 2)
    strict = connect(hypervisor.directory, 0, strict=True)
    mapping = strict.grants.map(1, grant.refs)
    with pytest.raises(LocalProtocolError, match="twice"):
        strict.grants.map(1, grant.refs[1:])
    mapping.close()
    strict.grants.map(1, grant.refs[1:])
    strict.close()


def test_event_reaches_the_other_end_and_only_that(host: SimDomain, guest: SimDomain) -> None:
    mine, theirs = bound(host, guest)
    other, other_end = bound(host, guest)
    mine.notify()
    assert wait_for(theirs) == 1
    theirs.notify()
    assert wait_for(mine) == 1
    assert [channel.ack() for channel in (mine, theirs, other, other_end)] == [0, 0, 0, 0]
    assert mine.port != other.port
    assert mine.kind == 1


def test_many_notifications_are_at_least_one_event_and_never_block(
    host: SimDomain, guest: SimDomain
) -> None:
    mine, theirs = bound(host, guest)
    for _ in range(10_000):
        mine.notify()
    assert wait_for(theirs) >= 1
    while theirs.ack():
        pass
    mine.notify()
    assert wait_for(theirs) == 1


def test_taking_up_a_port_finds_one_event_pending(host: SimDomain, guest: SimDomain) -> None:
    offered = guest.channels.bind_unbound(0)
    taken = host.channels.bind_interdomain(1, offered.port)
    assert wait_for(taken) == 1
    assert offered.ack() == 0


def test_notification_before_the_peer_has_bound_is_no_error(
    host: SimDomain, guest: SimDomain
) -> None:
    offered = guest.channels.bind_unbound(0)
    offered.notify()
    taken = host.channels.bind_interdomain(1, offered.port)
    assert wait_for(taken) >= 1


def test_port_is_for_one_domain_and_once(
    hypervisor: HypervisorProcess, toolstack: Toolstack, host: SimDomain, guest: SimDomain
) -> None:
    toolstack.create_domain(2, "thief")
    thief = connect(hypervisor.directory, 2)
    offered = guest.channels.bind_unbound(0)
    with pytest.raises(PeerGoneError, match=f"no event channel {offered.port}"):
        thief.channels.bind_interdomain(1, offered.port)
    host.channels.bind_interdomain(1, offered.port)
    with pytest.raises(PeerGoneError):
        host.channels.bind_interdomain(1, offered.port)
    with pytest.raises(PeerGoneError):
        host.channels.bind_interdomain(1, 4000)
    thief.close()


def test_closed_channel_is_silent_for_the_peer_and_refused_here(
    host: SimDomain, guest: SimDomain
) -> None:
    mine, theirs = bound(host, guest)
    mine.close()
    mine.close()
    theirs.notify()
    assert theirs.ack() == 0
    with pytest.raises(LocalProtocolError, match="after close"):
        mine.notify()
