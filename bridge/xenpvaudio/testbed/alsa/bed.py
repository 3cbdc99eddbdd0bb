"""A guest without PipeWire: its frontend serves ALSA programs, whose only devices are the plugin's
("xenpv")."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from xenpvaudio.errors import XenPvAudioError
from xenpvaudio.testbed.keeper import guard
from xenpvaudio.testbed.machine import (
    APPEAR_SEC,
    GUEST_DOMID,
    POLL_SEC,
    Machine,
    MachineOptions,
    end,
)

from .files import plugin_lines, snippet

DEVICE = "xenpv"
_SYSTEM = Path("/usr/share/alsa/alsa.conf")
# What would lead a program out of the guest, or a daemon to the bus of whoever runs this.
_FOREIGN = ("PIPEWIRE_", "PULSE_", "ALSA_", "DBUS_", "XDG_")


class AlsaBed(Machine):
    """`env` is for programs in the guest. UnavailableError where the plugins are missing."""

    def __init__(self, nodes: Mapping[str, str], **options: Unpack[MachineOptions]) -> None:
        load = plugin_lines()
        super().__init__(nodes, **options)
        self._frontend_args = ["--serve", "alsa", "--wait", *self._frontend_args]
        self.socket = self.directory / "xen" / f"xen-pv-audio-alsa-{GUEST_DOMID}.sock"
        file = self.directory / "load.conf"
        file.write_text(load)
        self.env = {key: text for key, text in os.environ.items() if not key.startswith(_FOREIGN)}
        self.env |= {
            "ALSA_CONFIG_PATH": ":".join(map(str, (_SYSTEM, snippet(), file))),
            "XEN_PV_AUDIO_ALSA_SOCKET": str(self.socket),
            "HOME": str(self.directory),
        }
        self._programs: list[subprocess.Popen[Any]] = []

    def _frontend_environ(self) -> Mapping[str, str]:
        return self.env

    def start_frontend(self) -> None:
        """Returns when it listens."""
        super().start_frontend()
        deadline = time.monotonic() + APPEAR_SEC
        while not self._listens():
            self.check()
            if time.monotonic() > deadline:
                tail = " / ".join(self.log("frontend").strip().splitlines()[-2:])
                raise XenPvAudioError(f"no frontend listens after {APPEAR_SEC:.0f} s: {tail}")
            time.sleep(POLL_SEC)

    def _listens(self) -> bool:
        """A dead frontend leaves its socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            try:
                connection.connect(str(self.socket))
            except OSError:
                return False
            return True

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[Any]:
        """A program in the guest; it is ended with the guest at the latest."""
        env = options.pop("env", self.env)
        # killed with who started it: asked, it would wait for a frontend that ends as well
        process: subprocess.Popen[Any] = subprocess.Popen(
            [*guard("KILL"), *command], env=env, stdin=subprocess.DEVNULL, **options
        )
        self._programs.append(process)
        return process

    def stop_halves(self) -> None:
        """The programs first: without its frontend one waits for some seconds for another."""
        while self._programs:
            end(self._programs.pop())
        super().stop_halves()
