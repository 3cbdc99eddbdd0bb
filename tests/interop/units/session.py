"""Both halves as their units start them: a test bed whose halves systemd runs, for a user.

Run by place.py; prints one JSON object: what the units and the kernel say of each half while sound
runs, and what was heard.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xenpvaudio.errors import XenPvAudioError
from xenpvaudio.sound.wav import read_wav, write_wav
from xenpvaudio.testbed.testbed import Testbed, card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE

SOURCE = Path(__file__).resolve().parents[3] / "packaging" / "systemd" / "user"
RUNTIME = Path(os.environ["XDG_RUNTIME_DIR"])
UNITS = RUNTIME / "units"
REAL_TIME = (os.SCHED_FIFO, os.SCHED_RR)  # by the user's limit, by rtkit
HANDED_ON = ("XDG_", "HOME", "DBUS_", "PULSE_", "PIPEWIRE_", "PYTHON", "PATH", "LC_ALL")


def unit(role: str) -> str:
    return f"xen-pv-audio-{role}.service"


def systemctl(*words: str) -> str:
    command = ["systemctl", "--user", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def shown(role: str, name: str) -> str:
    """A property of the half's unit."""
    return systemctl("show", f"--property={name}", "--value", unit(role)).strip()


class Manager:
    """The user's systemd; nothing but what it is told to start."""

    def __enter__(self) -> Manager:
        UNITS.mkdir()
        for name in ("pipewire", "wireplumber"):  # the test bed has its own
            (UNITS / f"{name}.service").symlink_to("/dev/null")
        log = (RUNTIME / "systemd.log").open("wb")
        self._process = subprocess.Popen(
            ["/usr/lib/systemd/systemd", "--user", "--unit=basic.target", "--log-target=console"],
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{UNITS}:/usr/lib/systemd/user"},
            stdout=log,
            stderr=log,
        )
        deadline = time.monotonic() + 20
        while not (RUNTIME / "systemd" / "private").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((RUNTIME / "systemd.log").read_text())
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


class UnitBed(Testbed):
    """The units as they are in the checkout, and beside each a drop-in with what differs here:
    where the program is, and that Xen and PipeWire are the test bed's. `changes`: more of it.
    `program`: a module in place of the program's."""

    __test__ = False

    def __init__(
        self, changes: Sequence[str], *, program: str = "xenpvaudio", **options: Any
    ) -> None:
        super().__init__(card_nodes(), **options)
        self._changes = changes
        self._program = program

    def _popen(
        self, domid: int, env: Mapping[str, str], role: str, args: Sequence[str], name: str = ""
    ) -> Any:
        told = {key: text for key, text in env.items() if key.startswith(HANDED_ON)}
        told[SIM_VARIABLE] = f"{self.directory / 'xen'}:{domid}"
        (UNITS / unit(role)).write_text((SOURCE / unit(role)).read_text())
        drop_in = UNITS / f"{unit(role)}.d" / "here.conf"
        drop_in.parent.mkdir(exist_ok=True)
        words = " ".join(["-m", self._program, role, "--wait", *args])
        lines = ["[Unit]", "ConditionPathExists=", "[Service]", "ExecStart="]
        lines += [f"ExecStart={sys.executable} {words}", "Restart=no"]
        lines += [f"StandardError=append:{self.directory / role}.log"]
        lines += [f'Environment="{key}={text}"'.replace("%", "%%") for key, text in told.items()]
        drop_in.write_text("\n".join([*lines, *self._changes]) + "\n")
        systemctl("daemon-reload")
        return subprocess.Popen(["systemctl", "--user", "start", "--wait", unit(role)])

    def stop_halves(self) -> None:
        for role in ("frontend", "backend"):
            subprocess.run(["systemctl", "--user", "stop", unit(role)], check=False)
        super().stop_halves()


def wait_for_status(role: str, first: str) -> None:
    """Until systemd shows a status line that begins so; it is renewed every few seconds. What is
    shown after a minute is left to who asks."""
    deadline = time.monotonic() + 60
    while not shown(role, "StatusText").startswith(first) and time.monotonic() < deadline:
        time.sleep(0.1)


def told(role: str) -> dict[str, Any]:
    """What systemd and the kernel say of a running half."""
    pid = int(shown(role, "MainPID"))
    here = Path(f"/proc/{pid}")
    mounts = [line.split() for line in (here / "mountinfo").read_text().splitlines()]
    statuses = [path.read_text() for path in here.glob("task/*/status")]
    return {
        "type": shown(role, "Type"),
        "active": shown(role, "ActiveState"),
        "status": shown(role, "StatusText"),
        "watchdog": shown(role, "WatchdogUSec"),
        "seccomp": sorted(set(re.findall(r"^Seccomp:\s*(\d)", "".join(statuses), re.M))),
        "bounding": sorted(set(re.findall(r"^CapBnd:\s*(\w+)", "".join(statuses), re.M))),
        "network": os.readlink(here / "ns/net") != os.readlink("/proc/self/ns/net"),
        "user": os.readlink(here / "ns/user") != os.readlink("/proc/self/ns/user"),
        "read_only": sorted({m[4] for m in mounts if "ro" in m[5].split(",")}),
        "writable": sorted({m[4] for m in mounts if "rw" in m[5].split(",")}),
        "open_files": re.findall(r"^Max open files +(\d+)", (here / "limits").read_text(), re.M),
        "real_time": any(
            os.sched_getscheduler(int(path.name)) & ~os.SCHED_RESET_ON_FORK in REAL_TIME
            for path in here.glob("task/*")
        ),
    }


def main() -> int:
    changes = sys.argv[1:]
    record = RUNTIME / "record.wav"
    tone = b"".join(n.to_bytes(2, "little", signed=True) * 2 for n in [8000, -8000] * 12000)
    write_wav(RUNTIME / "tone.wav", 48000, 2, "s16", tone)
    args = ["--allow-microphone", "--record", str(record)]
    with Manager(), UnitBed(changes, backend_args=args) as bed:
        try:
            bed.wait_for_node()
            play = ["pw-play", "--target", "xenpv_sink.0.0.0", str(RUNTIME / "tone.wav")]
            played = bed.guest.run(play, capture_output=True, text=True, check=False)
            wait_for_status("backend", "1 guest")
            wait_for_status("frontend", "1 card")
            found = {role: told(role) for role in ("backend", "frontend")}
        except XenPvAudioError as error:
            print(bed.log("backend"), bed.log("frontend"), error, file=sys.stderr)
            print((RUNTIME / "systemd.log").read_text(), file=sys.stderr)
            return 1
        bed.stop_halves()
        logs = {role: bed.log(role) for role in found}
    heard = read_wav(record)
    loud = sum(abs(sample) > 7000 for sample in memoryview(heard.data).cast("h"))
    result = {"halves": found, "logs": logs, "loud": loud, "played": played.returncode}
    result["may_be_real_time"] = resource.getrlimit(resource.RLIMIT_RTPRIO)[0] > 0
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
