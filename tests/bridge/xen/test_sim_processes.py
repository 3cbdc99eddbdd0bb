"""Domains of the simulated hypervisor as processes: they are killed, and nothing of them stays."""

from __future__ import annotations

import os
import queue
import subprocess
import sys

import pytest

from bridge.xen.sim_world import ENVIRONMENT, bound, until, wait_for
from xenpvaudio.errors import (
    LocalProtocolError,
    PeerGoneError,
    UnavailableError,
)
from xenpvaudio.xen.api import PAGE_BYTES
from xenpvaudio.xen.sim import (
    HypervisorProcess,
    SimDomain,
    Toolstack,
    connect,
)

# ---- deaths ----

DOMAIN_PROCESS = """
import sys, select
from xenpvaudio.xen.sim import connect
domain = connect(sys.argv[1], 1)
grant = domain.grants.grant(0, 4)
channel = domain.channels.bind_unbound(0)
if sys.argv[2:] == ["notify"]:
    grant.view[5000] = 1
    grant.set_unmap_notify(5000, channel.port)
domain.store.write("data/refs", ",".join(map(str, grant.refs)))
domain.store.write("data/port", str(channel.port))
while True:
    select.select([channel.fd], [], [])
    channel.ack()
    grant.view[0] += 1
    channel.notify()
"""


class GuestProcess:
    """A guest that adds one to its page's first byte at each event, and answers with one."""

    def __init__(self, hypervisor: HypervisorProcess, host: SimDomain, *args: str) -> None:
        arrived: queue.SimpleQueue[str] = queue.SimpleQueue()
        watch = host.store.watch("/local/domain/1/data/port", arrived.put)
        arrived.get(timeout=10)
        self.process = subprocess.Popen(
            [sys.executable, "-c", DOMAIN_PROCESS, hypervisor.directory, *args], env=ENVIRONMENT
        )
        arrived.get(timeout=10)
        watch.cancel()
        self.refs = [int(r) for r in host.store.read("/local/domain/1/data/refs").split(",")]
        self.port = int(host.store.read("/local/domain/1/data/port"))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def test_two_processes_exchange_pages_and_events(
    hypervisor: HypervisorProcess, host: SimDomain
) -> None:
    guest = GuestProcess(hypervisor, host)
    try:
        mapping = host.grants.map(1, guest.refs)
        channel = host.channels.bind_interdomain(1, guest.port)
        channel.ack()
        for number in range(1, 100):
            channel.notify()
            wait_for(channel)
            assert mapping.view[0] == number
    finally:
        guest.kill()


def test_killed_process_leaves_its_pages_to_who_mapped_them(
    hypervisor: HypervisorProcess, host: SimDomain
) -> None:
    guest = GuestProcess(hypervisor, host)
    mapping = host.grants.map(1, guest.refs)
    channel = host.channels.bind_interdomain(1, guest.port)
    mapping.view[100] = 5
    guest.kill()
    until(lambda: not any(line.startswith("domain 1:") for line in hypervisor.report()))
    assert mapping.view[100] == 5
    mapping.view[100] = 6
    channel.notify()
    with pytest.raises(PeerGoneError):
        host.grants.map(1, guest.refs)
    assert host.store.read("/local/domain/1/data/port") == str(guest.port)  # the domain lives on
    again = GuestProcess(hypervisor, host)
    assert not set(again.refs) & set(guest.refs)
    host.grants.map(1, again.refs)
    again.kill()


def test_killed_process_says_so_where_it_had_asked_for_that(
    hypervisor: HypervisorProcess, host: SimDomain
) -> None:
    guest = GuestProcess(hypervisor, host, "notify")
    mapping = host.grants.map(1, guest.refs)
    channel = host.channels.bind_interdomain(1, guest.port)
    wait_for(channel)
    assert mapping.view[5000] == 1
    guest.kill()
    assert wait_for(channel) == 1
    assert mapping.view[5000] == 0


def test_close_fires_the_unmap_notification_too(host: SimDomain, guest: SimDomain) -> None:
    mine, theirs = bound(host, guest)
    grant = guest.grants.grant(0, 2)
    mapping = host.grants.map(1, grant.refs)
    grant.view[1] = grant.view[4097] = 1
    grant.set_unmap_notify(1, None)  # the last one counts
    grant.set_unmap_notify(4097, mine.port)
    mine.close()  # Linux keeps the port for the notification
    grant.close()
    assert wait_for(theirs) == 1
    assert (mapping.view[1], mapping.view[4097]) == (1, 0)


def test_mapping_announces_its_end_to_the_grantor(host: SimDomain, guest: SimDomain) -> None:
    mine, theirs = bound(host, guest)
    grant = guest.grants.grant(0, 200)
    mapping = host.grants.map(1, grant.refs)
    last = 200 * PAGE_BYTES - 1
    mapping.view[last] = 1
    mapping.set_unmap_notify(last, theirs.port)
    mapping.close()
    assert wait_for(mine) == 1
    assert grant.view[last] == 0
    with pytest.raises(LocalProtocolError, match="is not in"):
        grant.set_unmap_notify(last + 1, None)


def test_destroyed_domain_is_gone_for_all(
    hypervisor: HypervisorProcess, toolstack: Toolstack, host: SimDomain
) -> None:
    guest = GuestProcess(hypervisor, host)
    released: queue.SimpleQueue[str] = queue.SimpleQueue()
    host.store.watch("@releaseDomain", released.put)
    released.get(timeout=10)
    mapping = host.grants.map(1, guest.refs)
    toolstack.destroy_domain(1)
    assert released.get(timeout=10) == "@releaseDomain"
    assert not host.store.exists("/local/domain/1")
    assert mapping.view[0] == 0
    with pytest.raises(PeerGoneError):
        host.grants.map(1, guest.refs)
    with pytest.raises(UnavailableError, match="no simulated domain 1"):
        connect(hypervisor.directory, 1)
    guest.kill()
    toolstack.create_domain(1, "guest")
    connect(hypervisor.directory, 1).close()


# ---- leaks ----


def test_leaks_are_named_on_both_sides(
    hypervisor: HypervisorProcess, host: SimDomain, guest: SimDomain
) -> None:
    hypervisor.assert_clean()
    grant = guest.grants.grant(0, 2)
    mapping = host.grants.map(1, grant.refs)
    channel = guest.channels.bind_unbound(0)
    with pytest.raises(AssertionError, match=rf"grant {grant.refs[0]}.. \(2 pages\)"):
        guest.grants.assert_cleaned_up()
    with pytest.raises(AssertionError, match="mapping of"):
        host.grants.assert_cleaned_up()
    with pytest.raises(AssertionError, match=f"event channel {channel.port}"):
        guest.channels.assert_cleaned_up()
    with pytest.raises(AssertionError, match=f"domain 0: mapping of 2 pages.*port {channel.port}"):
        hypervisor.assert_clean()
    grant.close()
    mapping.close()
    channel.close()
    for domain in (host, guest):
        domain.grants.assert_cleaned_up()
        domain.channels.assert_cleaned_up()
    hypervisor.assert_clean()


def test_no_descriptor_is_left_open(
    hypervisor: HypervisorProcess, host: SimDomain, guest: SimDomain
) -> None:
    def descriptors() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{hypervisor.pid}/fd"))

    def use() -> None:
        mine, theirs = bound(host, guest)
        unbound = guest.channels.bind_unbound(0)
        grants = [guest.grants.grant(0, 3) for _ in range(3)]
        mapping = host.grants.map(1, [ref for grant in grants for ref in grant.refs])
        with pytest.raises(PeerGoneError):
            host.grants.map(1, [grants[0].refs[0], 7])
        for channel in (mine, theirs, unbound):
            channel.close()
        for pages in (*grants, mapping):
            pages.close()

    use()
    before = descriptors()
    for _ in range(20):
        use()
    assert descriptors() == before
    for _ in range(5):
        connect(hypervisor.directory, 1).close()
    until(lambda: descriptors() == before)


def test_closing_a_domain_gives_everything_back(
    hypervisor: HypervisorProcess, toolstack: Toolstack
) -> None:
    guest = connect(hypervisor.directory, 1)
    guest.grants.grant(0, 2)
    guest.channels.bind_unbound(0)
    guest.close()
    hypervisor.assert_clean()
