"""The installed packages after a boot by systemd: a host where nobody logs in, and its backend.

The root is booted in a container of systemd-nspawn, with a simulated hypervisor as a service in
place of Xen. Two users linger, of whom one is set up by packaging/driver-domain.sh, as its package
installs it. A service of ours waits until their managers have started what they would, installs the
packages over themselves, removes the backend's, writes down what it sees, and powers off.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from aptroot import CannotRunError, run

LISTENER, OTHER = "listener", "other"
TOLD = "var/lib/xpa-boot.json"
DEBS = "var/lib/xpa-debs"
EXAMPLES = "/usr/share/doc/xen-pv-audio-backend/examples"
GROUPS = "/sys/fs/cgroup"
LIMIT_SEC = 300  # a machine's that is busy; nothing waits for it to pass

HYPERVISOR = """[Unit]
Description=Simulated Xen
Before=xen-pv-audio-backend.service
[Service]
Type=exec
ExecStartPre=mkdir -p %t/xen
ExecStart=python3 -m xenpvaudio.xen.sim %t/xen
ExecStartPost=sh -c "until [ -S %t/xen/dom0/xenstore ]; do sleep 0.1; done"
"""
# Without Xen its device is not there, and in a container no log of the kernel's to hide; the
# condition on the group stays.
DROP_IN = """[Unit]
ConditionPathExists=
ConditionGroup=xen-audio
Wants=simulated-xen.service
After=simulated-xen.service
[Service]
ProtectKernelLogs=no
Environment=XEN_PV_AUDIO_SIM=%t/xen:0
"""
ASK = """[Unit]
After=multi-user.target
[Service]
ExecStart=python3 /usr/local/lib/xpa-boot.py
"""
# Runs in there, where the project is not: standard library only.
SCRIPT = """
import json, pwd, subprocess, time

def shown(user, unit, name):
    uid = pwd.getpwnam(user).pw_uid
    command = ["runuser", "-u", user, "--", "env", f"XDG_RUNTIME_DIR=/run/user/{uid}",
               "systemctl", "--user", "show", "--value", "-p", name, unit]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()

NAMES = ("ActiveState", "ConditionResult", "StatusText", "Result", "UnitFileState")
told = {}
try:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        states = [shown(user, "default.target", "ActiveState") for user in USERS]
        status = shown(USERS[0], "xen-pv-audio-backend", "StatusText")
        if states == ["active", "active"] and status and "waits" not in status:
            break
        time.sleep(0.5)
    for user in USERS:
        told[user] = {name: shown(user, "xen-pv-audio-backend", name) for name in NAMES}
    before = shown(USERS[0], "xen-pv-audio-backend", "MainPID")
    done = subprocess.run(
        "dpkg --install /DEBS/*.deb", shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    same = shown(USERS[0], "xen-pv-audio-backend", "MainPID") == before != "0"
    told["upgrade"] = {"status": done.returncode, "runs on": same}
    log = done.stdout.decode(errors="replace")
    done = subprocess.run(
        ["dpkg", "--remove", "xen-pv-audio-backend"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    state = shown(USERS[0], "xen-pv-audio-backend", "ActiveState")
    told["removal"] = {"status": done.returncode, "ActiveState": state}
    told["dpkg"] = (log + done.stdout.decode(errors="replace"))[-2000:]
    told["sessions"] = subprocess.run(
        ["loginctl", "list-sessions", "--no-legend"], capture_output=True, text=True
    ).stdout.count("tty")
    told["log"] = subprocess.run(
        ["journalctl", "--no-pager", "-o", "cat", "_SYSTEMD_USER_UNIT=xen-pv-audio-backend.service",
         "+", "USER_UNIT=xen-pv-audio-backend.service"], capture_output=True, text=True
    ).stdout[-2000:]
finally:
    with open("/FILE", "w") as file:
        json.dump(told, file)
    subprocess.run(["systemctl", "poweroff", "--no-block"])
"""


def prepare(root: Path) -> None:
    """What an administrator does on such a host, and what stands in for Xen. /tmp/new has the
    packages."""
    for user in (LISTENER, OTHER):
        run("chroot", root, "useradd", "--create-home", "--groups", "audio", user)
    for _ in range(2):  # the second time changes nothing
        run("chroot", root, f"{EXAMPLES}/driver-domain.sh", LISTENER)
    lingering = root / "var/lib/systemd/linger"  # what `loginctl enable-linger` makes
    (lingering / OTHER).touch()
    shutil.copytree(root / "tmp/new", root / DEBS)
    users = root / "etc/systemd/user"
    (users / "simulated-xen.service").write_text(HYPERVISOR)
    drop_in = users / "xen-pv-audio-backend.service.d" / "simulated.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(DROP_IN)
    (root / "etc/systemd/system/xpa-boot.service").write_text(ASK)
    script = SCRIPT.replace("USERS", repr([LISTENER, OTHER])).replace("FILE", TOLD)
    script = script.replace("LIMIT", str(LIMIT_SEC // 2)).replace("DEBS", DEBS)
    (root / "usr/local/lib/xpa-boot.py").write_text(script)
    wants = root / "etc/systemd/system/graphical.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "xpa-boot.service").symlink_to("../xpa-boot.service")


def boot(root: Path) -> dict[str, Any]:
    """What was seen. CannotRunError if this machine has no containers."""
    if shutil.which("systemd-nspawn") is None:
        raise CannotRunError("systemd-nspawn is missing: apt install systemd-container")
    prepare(root)
    # systemd since 258 knows the unified control groups only, and not every machine has those.
    unified = f'umount --recursive {GROUPS}; mount -t cgroup2 none {GROUPS} && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", unified, "sh",
               "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network",
               f"--directory={root}", "--boot"]  # fmt: skip
    with (root.parent / f"{root.name}.boot.log").open("wb") as log:
        try:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=LIMIT_SEC
            )
        except subprocess.TimeoutExpired:
            raise CannotRunError(f"the boot does not end, see {log.name}") from None
    if not (root / TOLD).exists():
        raise CannotRunError(f"systemd-nspawn does not work here, see {log.name}")
    told: dict[str, Any] = json.loads((root / TOLD).read_text())
    return told
