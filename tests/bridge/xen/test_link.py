"""What pyxs 0.4.1 gets wrong, and the adapter must not: each of its known faults has a test here.

Over the simulated store; the same adapter runs over the real one in interop/test_xenstore.py.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pty
import queue
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenpvaudio.xen.api import StoreGoneError, XenStoreError
from xenpvaudio.xen.real.xenstore import PyxsStore, open_socket, open_xenbus
from xenpvaudio.xen.real.xs_link import HEADER, Link, Op, UnixLink
from xenpvaudio.xen.sim import HypervisorProcess, start_hypervisor
from xenpvaudio.xen.sim.paths import XENSTORE, socket_path

Paths = queue.SimpleQueue[str]


def at_once(fn: object, *args: object) -> None:
    assert callable(fn)
    fn(*args)


@pytest.fixture
def hypervisor(tmp_path: Path) -> Iterator[HypervisorProcess]:
    with start_hypervisor(tmp_path) as hypervisor:
        yield hypervisor


@pytest.fixture
def path(hypervisor: HypervisorProcess) -> str:
    return socket_path(hypervisor.directory, 0, XENSTORE)


@pytest.fixture
def store(path: str) -> Iterator[PyxsStore]:
    store = open_socket(path, call_soon=at_once)
    yield store
    store.close()


def watched(store: PyxsStore, path: str) -> Paths:
    paths = Paths()
    store.watch(path, paths.put)
    assert paths.get(timeout=10) == path
    return paths


def test_death_of_the_daemon_fails_an_outstanding_request(
    hypervisor: HypervisorProcess, path: str
) -> None:
    """pyxs: the caller waits for ever."""
    store = open_socket(path, call_soon=at_once, timeout_sec=60)
    os.kill(hypervisor.pid, signal.SIGSTOP)
    failures: queue.SimpleQueue[StoreGoneError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            store.read("/tool")
        except StoreGoneError as error:
            failures.put(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not store._link._answers:
        time.sleep(0.001)
    hypervisor.kill()
    assert "connection broke" in str(failures.get(timeout=10))
    thread.join()
    store.close()


def test_death_of_the_daemon_is_told_to_who_only_watches(
    hypervisor: HypervisorProcess, store: PyxsStore
) -> None:
    """pyxs: Monitor.wait() blocks for ever."""
    lost: queue.SimpleQueue[XenStoreError] = queue.SimpleQueue()
    store.on_lost = lost.put
    watched(store, "/t")
    hypervisor.kill()
    assert isinstance(lost.get(timeout=10), StoreGoneError)
    with pytest.raises(StoreGoneError):
        store.read("/tool")


def test_event_nobody_waits_for_costs_no_processor_time(path: str, store: PyxsStore) -> None:
    """pyxs: Monitor.wait() spins once an event for an unwatched path is queued."""
    held: list[tuple[object, ...]] = []
    late = open_socket(path, call_soon=lambda *call: held.append(call))
    watch = late.watch("/t", lambda _path: pytest.fail("was cancelled"))
    late.read("/")
    watch.cancel()
    assert held  # an event was on its way
    for fn, *args in held:
        at_once(fn, *args)
    before, used = time.monotonic(), time.process_time()
    time.sleep(0.3)
    assert time.process_time() - used < (time.monotonic() - before) / 3
    late.close()


@pytest.mark.parametrize("value", ["", "né", "two\nlines", "\udc80"])
def test_value_may_be_empty_non_ascii_or_have_newlines(store: PyxsStore, value: str) -> None:
    """pyxs: ValueError."""
    store.write("/t", value)
    assert store.read("/t") == value


def test_directory_over_4096_bytes_is_listed(store: PyxsStore) -> None:
    """pyxs: E2BIG, it has no DIRECTORY_PART."""
    names = {f"entry-{number:03}-{'x' * 20}" for number in range(300)}
    for name in names:
        store.mkdir(f"/big/{name}")
    assert set(store.list("/big")) == names


def test_directory_that_changes_between_its_parts_is_listed_whole(store: PyxsStore) -> None:
    for number in range(300):
        store.mkdir(f"/big/entry-{number:03}-{'x' * 20}")
    stop = threading.Event()
    other = open_socket(store._link.connection.path, call_soon=at_once)

    def change() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            other.mkdir(f"/big/{number:03}")
            other.remove(f"/big/{number:03}")
            time.sleep(0.002)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(20):
            names = store.list("/big")
            assert len(names) == len(set(names))
            assert sum(name.startswith("entry-") for name in names) == 300
    finally:
        stop.set()
        thread.join()
        other.close()


def test_descriptors_past_1023_work(path: str) -> None:
    """pyxs: select() refuses them, and its thread dies."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("this machine allows no more than 1024 descriptors")
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (1200, {hard}))
held = [open("/dev/null") for _ in range(1100)]
from xenpvaudio.xen.real.xenstore import open_socket
store = open_socket({path!r}, call_soon=lambda fn, *args: fn(*args))
assert store._link.connection.fileno() > 1023
store.write("/t", "1")
print(store.read("/t"))
store.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_request_ids_wrap_at_32_bits(path: str) -> None:
    """pyxs: struct.error after 2^32 requests."""
    link = Link(UnixLink(path), lambda *_: None, lambda *_: None, first_request_id=2**32 - 2)
    link.start()
    try:
        for _ in range(4):
            assert link.request(Op.READ, b"/tool\0", 0, 5.0) == (Op.READ, b"")
    finally:
        link.terminate()


def test_refused_watch_leaves_nothing_behind(store: PyxsStore) -> None:
    """pyxs: a refused watch stays subscribed, and each event then comes twice."""
    paths = watched(store, "/t")
    for _ in range(3):
        with pytest.raises(XenStoreError):
            store.watch("/t/", paths.put)
    assert len(store._watches) == 1
    store.write("/t", "1")
    store.read("/t")
    assert (paths.get(timeout=10), paths.empty()) == ("/t", True)


def test_watches_work_over_the_kernel_s_device(store: PyxsStore) -> None:
    """pyxs: PyXSError, "Monitor over XenBus is not supported". A terminal stands in for the
    device: like it, something to open, read and write that is no socket."""
    store.write("domid", "0")
    master, slave = os.openpty()
    tty.setraw(slave)
    daemon = UnixLink(store._link.connection.path)
    daemon.connect()
    stop, stopped = os.pipe()

    def carry() -> None:
        ends = {master: daemon.fileno(), daemon.fileno(): master}
        while stop not in (ready := select.select([*ends, stop], [], [])[0]):
            for fd in ready:
                os.write(ends[fd], os.read(fd, 4096))

    thread = threading.Thread(target=carry)
    thread.start()
    try:
        guest = open_xenbus(os.ttyname(slave), call_soon=at_once)
        assert guest.domid == 0
        paths = watched(guest, "/t")
        store.write("/t/a", "1")
        assert paths.get(timeout=10) == "/t/a"
        guest.close()
    finally:
        os.write(stopped, b"x")
        thread.join()
        daemon.close()
        for fd in (master, slave, stop, stopped):
            os.close(fd)


def test_answer_in_pieces_is_put_together(path: str) -> None:
    """pyxs reads with blocking calls: a daemon that stops inside a message blocks its thread, and
    with it terminate()."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        name = path + "2"
        listener.bind(name)
        listener.listen()
        deaths: queue.SimpleQueue[object] = queue.SimpleQueue()
        link = Link(UnixLink(name), lambda *_: None, lambda *call: deaths.put(call))
        link.start()
        daemon, _ = listener.accept()
        with daemon:
            answers: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
            thread = threading.Thread(
                target=lambda: answers.put(link.request(Op.READ, b"/t\0", 0, 60))
            )
            thread.start()
            request = daemon.recv(4096)
            answer = request[:12] + b"\x03\0\0\0" + b"abc"
            for byte in answer:
                daemon.send(bytes([byte]))
            assert answers.get(timeout=10) == (Op.READ, b"abc")
            thread.join()
            daemon.send(answer[:7])
            link.terminate()  # in the middle of a message
            assert not link.thread.is_alive()
            assert deaths.empty()


def test_oversized_message_ends_the_connection(path: str) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        name = path + "2"
        listener.bind(name)
        listener.listen()
        deaths: queue.SimpleQueue[Exception] = queue.SimpleQueue()
        link = Link(UnixLink(name), lambda *_: None, lambda _link, why: deaths.put(why))
        link.start()
        daemon, _ = listener.accept()
        with daemon:
            daemon.send(bytes(12) + b"\xff\xff\xff\x7f")
            assert "longer than its protocol allows" in str(deaths.get(timeout=10))


class KernelDevice:
    """A terminal's other end in the place of /dev/xen/xenbus: answers each request with `7`."""

    def __init__(self, link: Path) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(slave))
        self._slave = slave
        self._closed, self._end = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while self._closed not in select.select([self._master, self._closed], [], [])[0]:
                head = os.read(self._master, HEADER.size)
                kind, request, transaction, length = HEADER.unpack(head)
                os.read(self._master, length)
                os.write(self._master, HEADER.pack(kind, request, transaction, 1) + b"7")

    def close(self) -> None:
        """As when the driver is taken away: reads and writes fail."""
        os.close(self._end)
        self._thread.join()
        for fd in (self._closed, self._slave, self._master):
            os.close(fd)


def test_the_kernels_device_is_opened_again_when_it_fails(tmp_path: Path) -> None:
    """A daemon that ran for weeks must not need a restart because its guest's XenStore had one."""
    device = KernelDevice(tmp_path / "xenbus")
    store = open_xenbus(str(tmp_path / "xenbus"), call_soon=at_once)
    lost: queue.SimpleQueue[XenStoreError] = queue.SimpleQueue()
    store.on_lost = lost.put
    assert store.domid == 7
    device.close()
    assert isinstance(lost.get(timeout=10), StoreGoneError)
    device = KernelDevice(tmp_path / "xenbus")
    for _ in range(1000):
        with contextlib.suppress(StoreGoneError):
            assert store.read("/tool") == "7"
            break
        time.sleep(0.01)
    else:
        pytest.fail("the device was not opened again within 10 s")
    store.close()
    device.close()
