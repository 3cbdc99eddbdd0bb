"""The simulated hypervisor: domains in processes of their own, pages, events, deaths, leaks."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xenpvaudio.errors import (
    ConfigError,
    LocalProtocolError,
    PeerGoneError,
    UnavailableError,
    XenPvAudioError,
)
from xenpvaudio.xen.api import PAGE_BYTES, Channel, GrantLimitError
from xenpvaudio.xen.sim import (
    HypervisorProcess,
    SimDomain,
    Toolstack,
    connect,
    start_hypervisor,
)

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def at_once(fn: Callable[..., None], *args: object) -> None:
    fn(*args)


@pytest.fixture
def hypervisor(tmp_path: Path) -> Iterator[HypervisorProcess]:
    with start_hypervisor(tmp_path) as hypervisor:
        yield hypervisor


@pytest.fixture
def toolstack(hypervisor: HypervisorProcess) -> Iterator[Toolstack]:
    with Toolstack(hypervisor.directory) as toolstack:
        toolstack.create_domain(1, "guest")
        yield toolstack


@pytest.fixture
def host(hypervisor: HypervisorProcess, toolstack: Toolstack) -> Iterator[SimDomain]:
    domain = connect(hypervisor.directory, 0, at_once)
    yield domain
    domain.close()


@pytest.fixture
def guest(hypervisor: HypervisorProcess, toolstack: Toolstack) -> Iterator[SimDomain]:
    domain = connect(hypervisor.directory, 1, at_once)
    yield domain
    domain.close()


def wait_for(channel: Channel) -> int:
    """Events, once there are some."""
    assert select.select([channel.fd], [], [], 10)[0], "no event"
    return channel.ack()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


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


def test_every_page_may_be_a_grant_of_its_own(host: SimDomain, guest: SimDomain) -> None:
    grants = [guest.grants.grant(0, 1) for _ in range(300)]
    mapping = host.grants.map(1, [grant.refs[0] for grant in grants])
    for number, grant in enumerate(grants):
        grant.view[5] = number % 256
    assert [mapping.view[i * PAGE_BYTES + 5] for i in range(300)] == [i % 256 for i in range(300)]


def test_address_is_where_the_view_is(guest: SimDomain) -> None:
    import ctypes

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


# ---- events ----


def bound(host: SimDomain, guest: SimDomain) -> tuple[Channel, Channel]:
    """(guest's end, host's end), nothing pending."""
    offered = guest.channels.bind_unbound(0)
    taken = host.channels.bind_interdomain(1, offered.port)
    taken.ack()
    return offered, taken


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


# ---- the toolstack ----

NODES = {"sample-rates": "48000", "0/name": "dev", "0/0/unique-id": "a:b", "0/0/type": "p"}


def test_new_domain_s_home_is_its_own_only_in_parts(guest: SimDomain, host: SimDomain) -> None:
    assert guest.store.read("name") == host.name(1) == "guest"
    assert guest.store.read("domid") == "1"
    assert guest.store.get_perms("/local/domain/1") == ["n0", "r1"]
    assert guest.store.get_perms("device") == ["n0", "r1"]
    guest.store.write("data/x", "1")
    with pytest.raises(XenPvAudioError):
        guest.store.write("name", "other")
    assert guest.name(0) == "domain 0"  # which it may not read


def test_attached_device_has_libxl_s_nodes_and_permissions(
    toolstack: Toolstack, guest: SimDomain
) -> None:
    toolstack.attach_vsnd(1, 0, NODES)
    store, front = toolstack.store, "/local/domain/1/device/vsnd/0"
    back = "/local/domain/0/backend/vsnd/1/0"
    assert set(store.list(front)) == {"0", "backend", "backend-id", "sample-rates", "state"}
    assert store.read(f"{front}/backend") == back
    assert store.read(f"{front}/backend-id") == "0"
    assert store.read(f"{front}/0/0/unique-id") == "a:b"
    assert set(store.list(back)) == {"frontend", "frontend-id", "online", "state"}
    values = {name: store.read(f"{back}/{name}") for name in store.list(back)}
    assert values == {"frontend": front, "frontend-id": "1", "online": "1", "state": "1"}
    for path in (front, f"{front}/state", f"{front}/0/0/type"):
        assert store.get_perms(path) == ["n1", "r0"]
    for path in (back, f"{back}/state"):
        assert store.get_perms(path) == ["n0", "r1"]
    guest.store.write("device/vsnd/0/state", "3")
    assert guest.store.read(f"{back}/state") == "1"
    with pytest.raises(XenPvAudioError):
        guest.store.write(f"{back}/state", "2")


def test_detach_asks_the_backend_and_waits_for_it(toolstack: Toolstack, host: SimDomain) -> None:
    toolstack.attach_vsnd(1, 0, NODES)
    back = "/local/domain/0/backend/vsnd/1/0"
    with pytest.raises(XenPvAudioError, match="did not close in time"):
        toolstack.detach_vsnd(1, 0, timeout_sec=0.05)
    assert host.store.read(f"{back}/online") == "0"
    assert host.store.read(f"{back}/state") == "5"

    def backend(_path: str) -> None:
        if host.store.get(f"{back}/state") == "5":
            host.store.write(f"{back}/state", "6")

    calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    other = connect(toolstack.directory, 0, lambda fn, *args: calls.put(lambda: fn(*args)))
    other.store.watch(f"{back}/state", backend)
    calls.get(timeout=10)()
    toolstack.detach_vsnd(1, 0)
    assert not host.store.exists("/local/domain/0/backend")
    assert not host.store.exists("/libxl")
    assert not host.store.exists("/local/domain/1/device/vsnd")
    assert host.store.exists("/local/domain/1/name")
    other.close()


def test_names_and_numbers_are_given_once(toolstack: Toolstack) -> None:
    with pytest.raises(ConfigError, match="a domain guest already"):
        toolstack.create_domain(2, "guest")
    with pytest.raises(ConfigError, match="exists"):
        toolstack.create_domain(1, "other")
    for domid in (-1, 0x7FF0, 10**6):
        with pytest.raises(ConfigError):
            toolstack.create_domain(domid, "other")
    with pytest.raises(ConfigError, match="no domain 9"):
        toolstack.destroy_domain(9)


# ---- the process ----


def test_guest_may_not_make_hypercalls_of_the_host(guest: SimDomain) -> None:
    for op in ("create_domain", "destroy_domain", "report"):
        with pytest.raises(PermissionError):
            guest.hypercalls.call(op, domid=5)


@pytest.mark.parametrize("message", [b"", b"{}", b"[]", b"\xff", b'{"op": "grant", "domid": {}}'])
def test_nonsense_hurts_nobody(hypervisor: HypervisorProcess, message: bytes) -> None:
    import socket

    from xenpvaudio.xen.sim.paths import HYPERCALLS, XENSTORE, socket_path

    for name, kind in ((HYPERCALLS, socket.SOCK_SEQPACKET), (XENSTORE, socket.SOCK_STREAM)):
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.connect(socket_path(hypervisor.directory, 0, name))
            client.send(message)
            with contextlib.suppress(BrokenPipeError):  # it may have hung up at the first
                client.send(b"\xff" * 64)
    hypervisor.assert_clean()


def test_random_requests_of_a_guest_break_nothing(
    hypervisor: HypervisorProcess, toolstack: Toolstack, host: SimDomain
) -> None:
    import random
    import socket
    import struct

    from xenpvaudio.xen.sim.paths import XENSTORE, socket_path

    source = random.Random(1)
    pieces = [
        b"data",
        b"/a" * 900,
        b"/",
        b"\0",
        b"T",
        b"F",
        b"1",
        b"-1",
        b"n1",
        b"@x",
        b"\xff",
        b"\xb2",
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(socket_path(hypervisor.directory, 1, XENSTORE))
        for _ in range(5000):
            body = b"".join(source.choices(pieces, k=source.randrange(6)))[:4096]
            header = struct.pack("=IIII", source.randrange(26), 1, source.randrange(3), len(body))
            client.sendall(header + body)
            client.recv(65536)
    assert host.store.read("/local/domain/1/name") == "guest"


def test_thousand_levels_are_removed_at_once(host: SimDomain) -> None:
    host.store.write("/t" + "/a" * 1023, "1")
    host.store.remove("/t")
    assert not host.store.exists("/t")


def test_second_hypervisor_in_a_directory_is_refused(hypervisor: HypervisorProcess) -> None:
    with pytest.raises(UnavailableError, match=r"runs in .* already"):
        start_hypervisor(hypervisor.directory)


def test_directory_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="too long a name"):
        start_hypervisor(tmp_path / ("x" * 100))


def test_hypervisor_starts_over_what_a_killed_one_left(tmp_path: Path) -> None:
    first = start_hypervisor(tmp_path)
    with Toolstack(str(tmp_path)) as toolstack:
        toolstack.create_domain(1, "guest")
        first.kill()
    with start_hypervisor(tmp_path), Toolstack(str(tmp_path)) as toolstack:
        with pytest.raises(UnavailableError):
            connect(str(tmp_path), 1)
        toolstack.create_domain(1, "guest")
        connect(str(tmp_path), 1).close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_program_says_ready_and_ends_clean_on_a_signal(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "xenpvaudio.xen.sim", str(tmp_path)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == b"READY\n"
    assert (tmp_path / "dom0" / "xenstore").exists()
    process.send_signal(number)
    assert process.communicate(timeout=10) == (b"", b"")
    assert process.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_hypervisor_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import os, sys; from xenpvaudio.xen.sim import start_hypervisor;"
        "print(start_hypervisor(sys.argv[1]).pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert int(done.stdout) > 1
    until(lambda: not (tmp_path / "dom0").exists())


def test_processes_of_a_dead_hypervisor_get_clear_errors(tmp_path: Path) -> None:
    hypervisor = start_hypervisor(tmp_path)
    domain = connect(str(tmp_path), 0)
    grant = domain.grants.grant(0, 1)
    hypervisor.kill()
    with pytest.raises(UnavailableError, match="hypervisor"):
        domain.grants.grant(0, 1)
    assert grant.view[0] == 0
    domain.close()


def test_start_is_light(tmp_path: Path) -> None:
    """No asyncio, no cffi: what costs an interpreter most of its start."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import xenpvaudio.xen.sim"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"asyncio", "cffi", "_cffi_backend", "ssl", "xenpvaudio_native"}
