"""What goes wrong on order: each order is for whom it names, until it ends."""

from __future__ import annotations

import errno
import os
import time
from contextlib import closing

import pytest

from bridge.xen.sim_world import until
from xenpvaudio.errors import UnavailableError
from xenpvaudio.xen.api import GrantLimitError, QuotaError, StoreGoneError, XenStoreError
from xenpvaudio.xen.real.xenstore import open_socket
from xenpvaudio.xen.sim import HypervisorProcess, SimDomain, Toolstack
from xenpvaudio.xen.sim.paths import XENSTORE, socket_path

GUEST = 1


def test_hypercall_is_refused_as_ordered_and_then_no_more(
    hypervisor: HypervisorProcess, guest: SimDomain
) -> None:
    refused = {"grant": errno.ENOSPC, "bind_unbound": errno.ENOSPC}
    hypervisor.trouble(GUEST, refuse=refused)
    with pytest.raises(GrantLimitError):
        guest.grants.grant(0, 1)
    with pytest.raises(UnavailableError):
        guest.channels.bind_unbound(0)
    hypervisor.end_troubles()
    guest.grants.grant(0, 1).close()
    guest.channels.bind_unbound(0).close()


def test_pages_that_are_refused_for_any_reason_are_one_line(
    hypervisor: HypervisorProcess, host: SimDomain, guest: SimDomain
) -> None:
    with pytest.raises(UnavailableError, match="cannot grant 1 pages to domain 99"):
        guest.grants.grant(99, 1)  # a guest's node backend-id may say so
    grant = guest.grants.grant(0, 1)
    hypervisor.trouble(0, refuse={"map": errno.EPERM})
    with pytest.raises(UnavailableError, match="domain 1"):
        host.grants.map(GUEST, grant.refs)
    grant.close()


def test_order_for_another_process_or_domain_changes_nothing(
    hypervisor: HypervisorProcess, guest: SimDomain
) -> None:
    hypervisor.trouble(GUEST, pid=os.getpid() + 1, refuse={"grant": errno.ENOSPC})
    hypervisor.trouble(0, store_error="ENOSPC")
    guest.grants.grant(0, 1).close()
    guest.store.write("data/a", "1")


def test_full_store_takes_nothing_and_tells_what_it_has(
    hypervisor: HypervisorProcess, guest: SimDomain
) -> None:
    guest.store.write("data/a", "1")
    hypervisor.trouble(GUEST, store_error="ENOSPC")
    with pytest.raises(QuotaError):
        guest.store.write("data/b", "2")
    with pytest.raises(QuotaError):
        guest.store.transact(lambda tx: tx.write("data/b", "2"))
    assert guest.store.read("data/a") == "1"
    hypervisor.end_troubles()
    guest.store.write("data/b", "2")


def test_slow_store_answers_late_in_order(hypervisor: HypervisorProcess, guest: SimDomain) -> None:
    hypervisor.trouble(GUEST, store_delay_sec=0.05)
    began = time.monotonic()
    guest.store.write("data/a", "1")
    guest.store.write("data/a", "2")
    assert guest.store.read("data/a") == "2"
    assert time.monotonic() - began >= 3 * 0.05
    hypervisor.end_troubles()
    assert guest.store.read("data/a") == "2"


def test_lost_store_comes_back_with_all_it_had(
    hypervisor: HypervisorProcess, guest: SimDomain
) -> None:
    seen: list[str] = []
    guest.store.write("data/a", "1")
    guest.store.watch("data/a", seen.append)
    hypervisor.lose_store()
    path = socket_path(hypervisor.directory, GUEST, XENSTORE)
    until(lambda: not os.path.exists(path))
    with pytest.raises(StoreGoneError):
        guest.store.read("data/a")
    with pytest.raises(UnavailableError):
        open_socket(path)
    seen.clear()
    hypervisor.restore_store()
    until(lambda: bool(seen))
    assert guest.store.read("data/a") == "1"


def test_process_stops_for_ever_as_soon_as_a_node_gets_its_value(
    hypervisor: HypervisorProcess, toolstack: Toolstack
) -> None:
    path = socket_path(hypervisor.directory, GUEST, XENSTORE)
    with closing(open_socket(path, domid=GUEST, timeout_sec=0.2)) as store:
        home = f"/local/domain/{GUEST}"
        store.write(f"{home}/data/a", "1")
        hypervisor.trouble(GUEST, hold_path=f"{home}/data/a", hold_value="1")
        assert store.read(f"{home}/data/a") == "1"  # it had it before
        store.write(f"{home}/data/a", "2")
        assert hypervisor.held() == []
        with pytest.raises(XenStoreError):
            store.write(f"{home}/data/a", "1")
        assert hypervisor.held() == [os.getpid()]
        with pytest.raises(XenStoreError):
            store.read(f"{home}/data/a")
    assert toolstack.store.read(f"{home}/data/a") == "1"  # it was written


def test_order_that_is_none_is_refused(hypervisor: HypervisorProcess) -> None:
    with pytest.raises(OSError, match="no such trouble: hold_pth"):
        hypervisor.trouble(GUEST, hold_pth="x")
