"""The simulated hypervisor itself: its toolstack, nonsense from guests, its start and its end."""

from __future__ import annotations

import contextlib
import queue
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.xen.sim_world import ENVIRONMENT, until
from xenpvaudio.errors import (
    ConfigError,
    UnavailableError,
    XenPvAudioError,
)
from xenpvaudio.xen.sim import (
    HypervisorProcess,
    SimDomain,
    Toolstack,
    connect,
    start_hypervisor,
)

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


@pytest.mark.parametrize("room", [0, 1])
def test_domain_for_which_descriptors_run_out_is_not_there_at_all(
    room: int, hypervisor: HypervisorProcess, toolstack: Toolstack
) -> None:
    """`room`: for so many of its two sockets."""
    pid, directory = hypervisor.pid, Path(toolstack.directory)
    held = {int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    free = [number for number in range(len(held) + room + 1) if number not in held]
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # All numbers below the limit are taken, but for `room`.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[room], hard))
    with pytest.raises(UnavailableError, match="refuses create_domain: Too many open files"):
        toolstack.create_domain(5, "half")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert not (directory / "dom5").exists()
    assert not toolstack.store.exists("/local/domain/5")
    toolstack.create_domain(5, "whole")
    connect(toolstack.directory, 5).close()


def test_domain_whose_home_cannot_be_written_is_not_there_at_all(
    hypervisor: HypervisorProcess, toolstack: Toolstack
) -> None:
    hypervisor.trouble(0, store_error="ENOSPC")
    with pytest.raises(XenPvAudioError, match="No space left"):
        toolstack.create_domain(5, "half")
    hypervisor.end_troubles()
    assert not (Path(toolstack.directory) / "dom5").exists()
    toolstack.create_domain(5, "whole")
    assert toolstack.store.read("/local/domain/5/name") == "whole"


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
