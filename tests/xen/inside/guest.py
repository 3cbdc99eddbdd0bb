"""Guests, seen from dom0: start, run scripts over the Xen console, stop. Runs inside the lab."""

from __future__ import annotations

import base64
import os
import select
import subprocess
import termios
import threading
import time
import tty
from dataclasses import dataclass
from pathlib import Path

LAB = Path("/run/lab")
# QEMU's disks for guests: root, job (one for all, read-only).
ROOT_DISKS = ("vdd", "vde")
JOB_DISK = "vdf"
BY_SYSTEMD = " lab.init=systemd systemd.show_status=0 systemd.unit=multi-user.target"


class GuestError(Exception):
    """A guest did not start or does not answer."""


@dataclass(frozen=True, slots=True)
class Result:
    status: int
    output: str


def command(*words: str, timeout_sec: float = 120, check: bool = True) -> Result:
    """A program in dom0, with its output and errors together; GuestError if it fails."""
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout_sec,
    )
    if check and done.returncode:
        raise GuestError(f"{' '.join(words)}: status {done.returncode}: {done.stdout[-500:]}")
    return Result(done.returncode, done.stdout)


class Console:
    """dom0's end of the agent's protocol. A thread reads; scripts may run side by side."""

    def __init__(self, device: str) -> None:
        self._fd = os.open(device, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._fd, termios.TCSANOW)
        self._changed = threading.Condition()
        self._write_lock = threading.Lock()
        self._ready = False
        self._closed = False
        self._outputs: dict[str, str] = {}
        self._statuses: dict[str, int] = {}
        self._number = 0
        threading.Thread(target=self._read, daemon=True).start()

    def wait_ready(self, timeout_sec: float) -> None:
        end = time.monotonic() + timeout_sec
        while True:
            self._send("@@PING")
            with self._changed:
                if self._changed.wait_for(lambda: self._ready or self._closed, 2):
                    break
            if time.monotonic() > end:
                raise GuestError("the guest's agent does not answer")
        if self._closed:
            raise GuestError("the guest's console was closed")

    def start(self, script: str) -> str:
        with self._changed:
            self._number += 1
            ident = str(self._number)
        self._send(f"@@RUN {ident} {base64.b64encode(script.encode()).decode()}")
        return ident

    def result(self, ident: str, timeout_sec: float) -> Result:
        with self._changed:
            if not self._changed.wait_for(
                lambda: ident in self._statuses or self._closed, timeout_sec
            ):
                raise GuestError(f"a script in the guest did not end within {timeout_sec:g} s")
            if ident not in self._statuses:
                raise GuestError("the guest has gone")
            return Result(self._statuses.pop(ident), self._outputs.pop(ident, ""))

    def ended(self, ident: str) -> bool:
        """Whether that script has ended; its result is still to be had."""
        with self._changed:
            return ident in self._statuses

    def halt(self) -> None:
        self._send("@@HALT")

    def _send(self, line: str) -> None:
        data = f"\n{line}\n".encode()
        with self._write_lock:
            while data:
                data = data[os.write(self._fd, data[:1024]) :]

    def _read(self) -> None:
        buffer = b""
        try:
            while True:
                select.select([self._fd], [], [])
                data = os.read(self._fd, 65536)
                if not data:
                    break
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._line(line)
        except OSError:
            pass  # the domain has gone
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _line(self, line: bytes) -> None:
        start = line.find(b"@@")  # the kernel's messages may stand before
        if start < 0:
            return
        words = line[start:].decode(errors="replace").split()
        with self._changed:
            if words[0] == "@@READY":
                self._ready = True
            elif words[0] == "@@OUT":
                data = words[2] if len(words) > 2 else ""
                self._outputs[words[1]] = base64.b64decode(data).decode(errors="replace")
            elif words[0] == "@@RC" and len(words) == 3:
                self._statuses[words[1]] = int(words[2])
            self._changed.notify_all()


class Guest:
    """One PV guest from the lab's own kernel and disks. `systemd`: it boots by that, and when it
    restarts by itself it is there again."""

    def __init__(
        self, name: str = "guest", *, vsnd: str = "", index: int = 0, systemd: bool = False
    ) -> None:
        self.name = name
        self._systemd = systemd
        self._vsnd = vsnd
        self._index = index
        self._console: Console | None = None
        self.create_sec = 0.0

    def __enter__(self) -> Guest:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.domid is not None:
            self.destroy()

    @property
    def domid(self) -> int | None:
        found = command("xl", "domid", self.name, check=False)
        return int(found.output) if found.status == 0 else None

    def start(self, memory_mb: int = 400) -> None:
        def disk(vdev: str, access: str, target: str) -> str:
            return (
                f"'format=raw,vdev={vdev},access={access},"
                f"script={LAB}/inside/block-lab,target=/dev/{target}'"
            )

        config = LAB / f"{self.name}.cfg"
        config.write_text(
            f"""
name = "{self.name}"
type = "pv"
memory = {memory_mb}
vcpus = 1
kernel = "{LAB}/boot/vmlinux"
ramdisk = "{LAB}/boot/initrd.img"
extra = "console=hvc0 quiet mitigations=off audit=0 panic=1 lab.role=guest \
lab.root=xvda lab.job=xvdb{BY_SYSTEMD if self._systemd else ""}"
disk = [ {disk("xvda", "rw", ROOT_DISKS[self._index])}, {disk("xvdb", "ro", JOB_DISK)} ]
on_poweroff = "destroy"
on_reboot = "{"restart" if self._systemd else "destroy"}"
on_crash = "destroy"
{self._vsnd}
"""
        )
        started = time.monotonic()
        command("xl", "create", "-q", str(config))
        self.create_sec = time.monotonic() - started
        self.find_console()

    def find_console(self) -> None:
        """Waits for the agent at the console that the domain has now: after a start or a
        restore."""
        path = f"/local/domain/{self.domid}/console/tty"
        device = command("xenstore-read", path).output.strip()
        self._console = Console(device)
        self._console.wait_ready(180)

    @property
    def console(self) -> Console:
        if self._console is None:
            raise GuestError(f"{self.name} is not running")
        return self._console

    def run(self, script: str, timeout_sec: float = 120) -> Result:
        """A shell script in the guest, to its end."""
        return self.console.result(self.console.start(script), timeout_sec)

    def must(self, script: str, timeout_sec: float = 120) -> str:
        """The output of a script that must succeed."""
        done = self.run(script, timeout_sec)
        if done.status:
            raise GuestError(f"in the guest: status {done.status}: {done.output[-800:]}")
        return done.output

    def idle(self) -> bool:
        """Whether its processor had nothing to do for most of a second. A sound session starts for
        some seconds more than it says, and with one processor that is heard. What other domains
        took of the time (steal) is neither."""
        ticks = self.must("grep '^cpu ' /proc/stat; sleep 1; grep '^cpu ' /proc/stat").split()
        half = len(ticks) // 2
        before, after = (list(map(int, part[1:8])) for part in (ticks[:half], ticks[half:]))
        return after[3] - before[3] > 0.8 * (sum(after) - sum(before))

    def halt(self) -> float:
        """An orderly power-off; seconds until the domain has gone."""
        started = time.monotonic()
        self.console.halt()
        while self.domid is not None:
            if time.monotonic() - started > 60:
                raise GuestError(f"{self.name} does not halt")
            time.sleep(0.2)
        self._console = None
        return time.monotonic() - started

    def restart(self, timeout_sec: float = 120) -> float:
        """By its own systemd; seconds until its agent answers again."""
        started, before = time.monotonic(), self.domid
        self.console.start("systemctl reboot")
        path = "/local/domain/{}/console/tty"
        while (now := self.domid) in (None, before) or command(
            "xenstore-read", path.format(now), check=False
        ).status:
            if time.monotonic() - started > timeout_sec:
                raise GuestError(f"{self.name} does not come back")
            time.sleep(0.5)
        self.find_console()
        return time.monotonic() - started

    def destroy(self) -> float:
        started = time.monotonic()
        command("xl", "destroy", self.name, check=False)
        self._console = None
        return time.monotonic() - started
