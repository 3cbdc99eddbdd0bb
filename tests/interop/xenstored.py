"""Debian's real xenstored without Xen, as a server for tests, with domains on shared-memory rings.

The program, and xl, come from the package xen-utils-4.x, unpacked (not installed) into
.cache/xenstored; xenfake.c and xlfake.c stand in for the hypervisor. A guest's kernel is played by
a thread here (RingBridge): it carries bytes between a Unix socket, to which the code under test
connects, and the guest's ring.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import mmap
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from aptroot import apt_alone

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "xenstored"
MINORS = (17, 20)
"""Of Xen 4: Debian 12's and Debian 13's."""
HERE = Path(__file__).parent

VIRQ_PORT, RING_PORT = 1, 16
RING_BYTES = 1024
REQUEST_CONS, REQUEST_PROD, RESPONSE_CONS, RESPONSE_PROD = range(512, 516)
"""Numbers of 32-bit words."""
START_SEC = 10.0


def run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout}{done.stderr}", pytrace=False)


def available() -> int | None:
    """The Xen 4 whose xenstored this system's archive has; its libxen-dev is of the same."""
    for minor in MINORS:
        command = ["apt-cache", "policy", f"xen-utils-4.{minor}"]
        policy = subprocess.run(command, capture_output=True, text=True, check=False)
        if re.search(r"Candidate: \d", policy.stdout):
            return minor
    return None


@functools.cache
def xen_minor() -> int:
    """Skips where no xenstored can be had."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("no apt-get here: Debian's xenstored cannot be had")
    names = " or ".join(f"xen-utils-4.{minor}" for minor in MINORS)
    if (minor := available()) is None:
        if os.geteuid() != 0:
            pytest.skip(f"apt does not know {names}, and only root may update its lists")
        with apt_alone():
            run("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
        if (minor := available()) is None:
            pytest.skip(f"this system's archive has no {names}")
    return minor


def program(name: str = "xenstored") -> Path:
    """Downloads once. Skips where there is no apt; fails where there is one that cannot."""
    minor = xen_minor()
    path = Path(f"usr/lib/xen-4.{minor}/bin/{name}")
    installed = CACHE / path
    if installed.exists():
        return installed
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        folder = Path(temporary)
        run("apt-get", "download", "-q", f"xen-utils-4.{minor}", cwd=folder)
        (package,) = folder.glob("*.deb")
        run("dpkg-deb", "-x", str(package), str(folder / "root"))
        target = installed.parent
        target.mkdir(parents=True, exist_ok=True)
        os.replace(folder / "root" / path, installed)
    return installed


def shim(name: str = "xenfake") -> Path:
    """What is preloaded, compiled from the source of that name."""
    source, minor = HERE / f"{name}.c", xen_minor()
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    built = CACHE / f"{name}-4.{minor}-{digest}.so"
    if not built.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = built.with_suffix(f".{os.getpid()}")
        flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        flags.append(f"-DXEN_MINOR={minor}")
        run("cc", *flags, str(source), "-o", str(part), "-ldl")
        os.replace(part, built)
    return built


class RingBridge:
    """A guest's kernel, as far as XenStore goes: one client at a time on `path`."""

    def __init__(self, machine: Path, domid: int) -> None:
        self.directory = machine / f"dom{domid}"
        self.directory.mkdir()
        self._kick = struct.pack("=I", RING_PORT + domid), str(machine / "xenstored.evtchn")
        with open(self.directory / "ring", "w+b") as file:
            file.truncate(4096)
            self._page = mmap.mmap(file.fileno(), 4096)
        # Stores whole words. struct.pack_into() writes zeros first, and xenstored saw them.
        self._words = memoryview(self._page).cast("I")
        self._events = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._events.bind(str(self.directory / "evtchn"))
        self.path = str(self.directory / "xenstore")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(1)
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.close()
        self._thread.join()
        for sock in (self._listener, self._events, self._stopped):
            sock.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, self._stopped], [], [])
            if self._stopped in ready:
                return
            client, _ = self._listener.accept()
            with client, contextlib.suppress(ConnectionError):
                self._carry(client)

    def _carry(self, client: socket.socket) -> None:
        while self._stopped not in (
            ready := select.select([client, self._events, self._stopped], [], [])[0]
        ):
            if self._events in ready:
                self._events.recv(16)
                self._to_client(client)
            if client in ready:
                data = client.recv(RING_BYTES)
                if not data:
                    return
                self._to_ring(data, client)

    def _to_client(self, client: socket.socket) -> None:
        while (used := self._distance(RESPONSE_PROD, RESPONSE_CONS)) > 0:
            start = self._words[RESPONSE_CONS] % RING_BYTES
            count = min(used, RING_BYTES - start)
            client.sendall(self._page[RING_BYTES + start : RING_BYTES + start + count])
            self._advance(RESPONSE_CONS, count)

    def _to_ring(self, data: bytes, client: socket.socket) -> None:
        while data:
            room = RING_BYTES - self._distance(REQUEST_PROD, REQUEST_CONS)
            if not room:
                if self._events not in select.select([self._events, self._stopped], [], [])[0]:
                    return
                self._events.recv(16)
                self._to_client(client)
                continue
            start = self._words[REQUEST_PROD] % RING_BYTES
            part = data[: min(room, RING_BYTES - start)]
            self._page[start : start + len(part)] = part
            self._advance(REQUEST_PROD, len(part))
            data = data[len(part) :]

    def _distance(self, producer: int, consumer: int) -> int:
        return (self._words[producer] - self._words[consumer]) & 0xFFFFFFFF

    def _advance(self, word: int, count: int) -> None:
        self._words[word] = (self._words[word] + count) & 0xFFFFFFFF
        with contextlib.suppress(ConnectionError, FileNotFoundError):
            self._events.sendto(*self._kick)


class RealXenstored:
    """A running xenstored, alone on a machine that does not exist."""

    def __init__(self) -> None:
        self.xen_minor = xen_minor()
        self.directory = Path(tempfile.mkdtemp(prefix="xenstored-"))
        self._bridges: dict[int, RingBridge] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        environment = dict(os.environ)
        environment.pop("XENSTORED_PATH", None)  # it would win over the directory
        environment |= {
            "XENFAKE_DIR": str(self.directory),
            "XENSTORED_RUNDIR": str(self.directory),
            "LD_PRELOAD": str(shim()),
        }
        log = self.directory / "log"
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                [program(), "-N", "-I"], env=environment, stdout=output, stderr=output
            )
        deadline = time.monotonic() + START_SEC
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"xenstored did not start:\n{log.read_text()}", pytrace=False)
            time.sleep(0.002)

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def socket_path(self, domid: int) -> str:
        return self._bridges[domid].path if domid else str(self.directory / "socket")

    def add_domain(self, domid: int) -> None:
        """The hypervisor's part: now the domain exists, and XenStore may be told (INTRODUCE)."""
        self._bridges[domid] = RingBridge(self.directory, domid)

    def remove_domain(self, domid: int) -> None:
        self._bridges.pop(domid).close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            virq = struct.pack("=I", VIRQ_PORT)
            sender.sendto(virq, str(self.directory / "xenstored.evtchn"))

    def kill(self) -> None:
        assert self._process
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        (self.directory / "socket").unlink(missing_ok=True)

    def close(self) -> None:
        self.kill()
        for bridge in self._bridges.values():
            bridge.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            return client.connect_ex(str(self.directory / "socket")) == 0
