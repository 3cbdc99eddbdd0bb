"""A domain, or the hypervisor, that has no descriptor left is refused, in the seam's words, and
keeps nothing; what it holds can still be given back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from bridge.xen.sim_world import bound, descriptors, room_for, until, wait_for
from xenpvaudio.errors import UnavailableError
from xenpvaudio.xen.api import Channel, Grant, Mapping
from xenpvaudio.xen.sim import HypervisorProcess, SimDomain

Room = Callable[[int], AbstractContextManager[None]]
Offer = tuple[list[int], int]
"""What the guest offers: pages, each of its own file, and a port."""


def grant(host: SimDomain, _offer: Offer) -> Grant:
    return host.grants.grant(1, 1)


def map_pages(host: SimDomain, offer: Offer) -> Mapping:
    return host.grants.map(1, offer[0])


def bind_unbound(host: SimDomain, _offer: Offer) -> Channel:
    return host.channels.bind_unbound(1)


def bind_interdomain(host: SimDomain, offer: Offer) -> Channel:
    return host.channels.bind_interdomain(1, offer[1])


TAKES = [grant, map_pages, bind_unbound, bind_interdomain]
PAGES = 3


@pytest.mark.parametrize("take", TAKES, ids=lambda take: take.__name__)
def test_a_domain_without_descriptors_is_refused_and_keeps_nothing(
    take: Callable[[SimDomain, Offer], Grant | Mapping | Channel],
    hypervisor: HypervisorProcess,
    host: SimDomain,
    guest: SimDomain,
) -> None:
    granted = [guest.grants.grant(0, 1) for _ in range(PAGES)]
    offer = [page.refs[0] for page in granted], guest.channels.bind_unbound(0).port
    held, opened = hypervisor.report(), descriptors()
    for room in range(PAGES if take is map_pages else 1):
        with room_for(room), pytest.raises(UnavailableError, match="Too many open files"):
            take(host, offer)
        assert (hypervisor.report(), descriptors()) == (held, opened)
    taken = take(host, offer)  # also the port is still offered
    assert len(hypervisor.report()) == len(held) + 1
    taken.close()


@pytest.mark.parametrize("take", [grant, bind_unbound], ids=lambda take: take.__name__)
def test_a_hypervisor_without_descriptors_refuses_and_keeps_nothing(
    take: Callable[[SimDomain, Offer], Grant | Channel],
    hypervisor: HypervisorProcess,
    host: SimDomain,
    guest: SimDomain,
) -> None:
    for domain in (host, guest):
        domain.store.exists("data")  # who is answered has been let in
    opened = descriptors(hypervisor.pid)
    for room in range(1 if take is grant else 2):
        until(lambda: descriptors(hypervisor.pid) == opened)  # it has closed who asked for a report
        with (
            room_for(room, hypervisor.pid),
            pytest.raises(UnavailableError, match="Too many open files"),
        ):
            take(host, ([], 0))
        hypervisor.assert_clean()
    taken = take(host, ([], 0))
    taken.close()


def test_a_hypervisor_without_descriptors_still_tells_the_end_of_pages(
    hypervisor: HypervisorProcess, host: SimDomain, guest: SimDomain
) -> None:
    mine, theirs = bound(host, guest)
    page = guest.grants.grant(0, 1)
    page.set_unmap_notify(None, mine.port)
    with room_for(0, hypervisor.pid):
        page.close()
        assert wait_for(theirs) == 1
    assert not any("grant of" in line for line in hypervisor.report())
