"""The installed packages after a boot by systemd: a host where nobody logs in, and its backends.

The root is booted in a container of systemd-nspawn, with simulated hypervisors as services in place
of Xen. Two users linger, of whom one is set up by packaging/driver-domain.sh, as its package
installs it. And there is a PipeWire of the whole system, with the system's backend beside it, and a
recorded loudspeaker; a guest plays to that one (boot_guest.py). A service of ours waits until all
has started that should, lets the guest play, installs the packages over themselves, removes the
backend's, writes down what it sees, and powers off.
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
from roots.boot_guest import FIFO

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
# The same beside the PipeWire of the whole system; the guest there is the same user, for the
# simulation knows no rights.
SYSTEM_HYPERVISOR = """[Unit]
Description=Simulated Xen
Before=xen-pv-audio-backend.service
[Service]
Type=exec
User=xen-pv-audio
RuntimeDirectory=xen-sim
ExecStart=python3 -m xenpvaudio.xen.sim %t/xen-sim
ExecStartPost=sh -c "until [ -S %t/xen-sim/dom0/xenstore ]; do sleep 0.1; done"
"""
SYSTEM_DROP_IN = """[Unit]
ConditionPathExists=
Requires=simulated-xen.service
After=simulated-xen.service
[Service]
ProtectKernelLogs=no
ReadWritePaths=%t/xen-sim
Environment=XEN_PV_AUDIO_SIM=%t/xen-sim:0
"""
NO_KERNEL_LOG = "[Service]\nProtectKernelLogs=no\n"
# As packaging/doc/install.md says it, of the files that the package brings.
SYSTEM_FILES = "/usr/share/doc/xen-pv-audio-common/system-wide"
SYSTEM_WIDE = f"""
install -D -m 644 -t /etc/sysusers.d {SYSTEM_FILES}/pipewire.conf
systemd-sysusers
for file in pipewire.socket pipewire.service wireplumber.service; do
    install -D -m 644 -t /etc/systemd/system {SYSTEM_FILES}/$file
done
for unit in pipewire wireplumber xen-pv-audio-backend; do systemctl enable $unit; done
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

def of_the_system(name):
    command = ["systemctl", "show", "--value", "-p", name, "xen-pv-audio-backend"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()

# What the guest says, and meanwhile what systemd and root are told of the backend.
def play():
    guest = subprocess.Popen(["runuser", "-u", "xen-pv-audio", "--", "env", "HOME=/tmp",
                              "python3", "/usr/local/lib/xpa-guest.py"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told = {"playing": "", "asked": "", "heard": {}}
    while guest.poll() is None:
        status = of_the_system("StatusText")
        if " 1 stream running" in status and not told["asked"]:
            told["playing"] = status
            told["asked"] = subprocess.run(["xen-pv-audio", "status"], capture_output=True,
                                           text=True, env=ROOTS).stdout
        time.sleep(0.2)
    out, said = guest.communicate()
    try:
        told["heard"] = json.loads(out)
    except ValueError:
        told["said"] = (out + said)[-2000:]
    return told

# A simulation's sockets are in its own folder.
ROOTS = {"PATH": "/usr/bin:/bin", "XEN_PV_AUDIO_SIM": "/run/xen-sim:0"}
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
    deadline = time.monotonic() + LIMIT
    while of_the_system("ActiveState") != "active" and time.monotonic() < deadline:
        time.sleep(0.5)
    told["system"] = {name: of_the_system(name) for name in NAMES} | play()
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
         "+", "USER_UNIT=xen-pv-audio-backend.service",
         "+", "_SYSTEMD_UNIT=xen-pv-audio-backend.service", "+", "_SYSTEMD_UNIT=pipewire.service",
         "+", "_SYSTEMD_UNIT=wireplumber.service"], capture_output=True, text=True
    ).stdout[-4000:]
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
    prepare_system(root)
    (root / "etc/systemd/system/xpa-boot.service").write_text(ASK)
    script = SCRIPT.replace("USERS", repr([LISTENER, OTHER])).replace("FILE", TOLD)
    script = script.replace("LIMIT", str(LIMIT_SEC // 2)).replace("DEBS", DEBS)
    (root / "usr/local/lib/xpa-boot.py").write_text(script)
    wants = root / "etc/systemd/system/graphical.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "xpa-boot.service").symlink_to("../xpa-boot.service")


def prepare_system(root: Path) -> None:
    """The same for a PipeWire of the whole system, whose loudspeaker writes to a FIFO."""
    run("chroot", root, "sh", "-ec", SYSTEM_WIDE)
    units = root / "etc/systemd/system"
    (units / "simulated-xen.service").write_text(SYSTEM_HYPERVISOR)
    for unit, text in (
        ("xen-pv-audio-backend", SYSTEM_DROP_IN),
        ("pipewire", NO_KERNEL_LOG),
        ("wireplumber", NO_KERNEL_LOG),
    ):
        drop_in = units / f"{unit}.service.d" / "simulated.conf"
        drop_in.parent.mkdir()
        drop_in.write_text(text)
    (root / "etc/tmpfiles.d/xpa-fifo.conf").write_text(f"p+ {FIFO} 0666 - - -\n")
    settings = root / "etc/pipewire/pipewire.conf.d"
    settings.mkdir(parents=True, exist_ok=True)
    sink = f"from xenpvaudio.testbed.pwconf import pipe_sink; print(pipe_sink('{FIFO}'))"
    (settings / "loudspeaker.conf").write_text(run("chroot", root, "python3", "-c", sink))
    shutil.copy(Path(__file__).with_name("boot_guest.py"), root / "usr/local/lib/xpa-guest.py")


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
