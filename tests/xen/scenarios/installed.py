"""Installed by the lines of packaging/doc/install.md, in dom0 and in a guest, and run by the units'
own lines.

Neither half is root here: a user of the group xen-audio runs it, with what the udev rules and the
XenStore unit give that group. systemd itself is not there: it only checks the units.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from cards import wait_connected
from dom0 import OUT, Lab, expect, wait_until
from guest import LAB, Guest, GuestError, command
from our_front import at_rest
from round_trip import SINK, SOURCE, round_trip

TREE = LAB / "source"
CARD = (
    "CARD, short-name=XenLab, long-name=Xen lab card, sample-rates=48000, "
    "sample-formats=s16_le, channels-max=2, buffer-size=262144"
)
PCM = ("PCM, name=Lab PCM", "STREAM, unique-id=play, type=p", "STREAM, unique-id=cap, type=c")
VSND = f"vsnd = [ [ {', '.join(repr(text) for text in (CARD, *PCM))} ] ]"
USER = "listener"
IN_A_GUEST = "### By hand, in a guest"
# The policy that an administrator writes for the guest of this name.
POLICY = '[domain.guest]\noutput = "loopback,delay=40ms"\nmicrophone = true\n'
AS_USER = f"runuser -u {USER} -- env HOME=/tmp XDG_RUNTIME_DIR=/run/user/{USER}"


def lines_by_hand(section: str) -> str:
    """The shell lines of a section of the page that copy files and make the group."""
    text = (TREE / "packaging/doc/install.md").read_text()
    body = text.partition(f"\n{section}\n")[2]
    body = re.split(r"\n##", body)[0]
    blocks = re.findall(r"```sh\n(.*?)```", body, re.DOTALL)
    lines = [line.removeprefix("sudo ") for block in blocks for line in block.splitlines()]
    kept = [line for line in lines if line.startswith(("install ", "groupadd ", "usermod "))]
    expect(bool(kept), f"the page has no lines in {section}")
    return "\n".join(kept)


def install_script(*sections: str) -> str:
    return (
        f"set -ex; id {USER} || useradd {USER}; export USER={USER}; cd {TREE}\n"
        + "\n".join(lines_by_hand(section) for section in sections)
        + f"\ninstall -d -m 700 -o {USER} /run/user/{USER}\n"
    )


def exec_start(unit: str) -> list[str]:
    """The commands of a unit in packaging/systemd."""
    text = next((TREE / "packaging/systemd").glob(f"*/{unit}.service")).read_text()
    return re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)


UDEV = (
    "pgrep systemd-udevd > /dev/null || /lib/systemd/systemd-udevd --daemon; "
    "udevadm control --reload; udevadm trigger -c add; udevadm settle; "
)
NODES = "stat -c '%n %U:%G %a' /dev/xen/evtchn /dev/xen/gntalloc /dev/xen/gntdev /dev/xen/xenbus"


def run(lab: Lab) -> None:
    with lab.scenario("installed.units_are_valid") as figures:
        script = install_script("## By hand", "### By hand, on the host")
        command("bash", "-c", script)
        command("bash", "-c", install_script(IN_A_GUEST).replace("/etc/modprobe.d", "/tmp"))
        verified = command(
            "bash",
            "-c",
            "systemd-analyze verify --man=no /etc/systemd/system/xen-pv-audio-*.service && "
            "systemd-analyze verify --man=no --user /etc/systemd/user/xen-pv-audio-*.service",
            check=False,
        )
        ours = [line for line in verified.output.splitlines() if "xen-pv-audio" in line]
        expect(verified.status == 0 and not ours, verified.output[-400:])
        figures.append("3 units")
    backend = None
    with lab.scenario("installed.backend_runs_as_a_user") as figures:
        told = command("bash", "-c", f"{UDEV} {NODES}").output.splitlines()
        nodes = [line for line in told if line.startswith("/dev/xen/")]
        expect(len(nodes) >= 3 and all("root:xen-audio 660" in n for n in nodes), "; ".join(told))
        figures.append(f"{len(nodes)} devices root:xen-audio 660")
        Path("/etc/xen-pv-audio/backend.toml").write_text(POLICY)
        for line in exec_start("xen-pv-audio-xenstore"):
            command(*shlex.split(line))
        (line,) = exec_start("xen-pv-audio-backend")
        log = (OUT / "backend-installed.log").open("wb")
        backend = subprocess.Popen(
            [*shlex.split(AS_USER), *shlex.split(line)], stdout=log, stderr=subprocess.STDOUT
        )
        told_log = OUT / "backend-installed.log"
        wait_until(
            lambda: "is ready" in told_log.read_text() or backend.poll() is not None, "ready"
        )
        expect(backend.poll() is None, told_log.read_text()[-300:])
        figures.append(line)
    guest = Guest(vsnd=VSND)
    lab.explain_with(guest)
    try:
        with guest:
            in_guest(lab, guest)
    finally:
        if backend is not None:
            backend.terminate()
            backend.wait(15)


def in_guest(lab: Lab, guest: Guest) -> None:
    with lab.scenario("installed.kernel_driver_stays_out") as figures:
        # The control: without our file, coldplug loads the driver of xen:vsnd.
        guest.must(f"{UDEV} sleep 1; lsmod | grep -q ^snd_xen_front")
        guest.must(
            "echo vsnd-0 > /sys/bus/xen/drivers/vsnd/unbind 2> /dev/null || "
            "for d in /sys/bus/xen/drivers/*vsnd*/vsnd-0; do echo vsnd-0 > ${d%/*}/unbind; done;"
            "sleep 2; rmmod snd_xen_front"
        )
        guest.must(install_script("## By hand", IN_A_GUEST))
        told = guest.must(f"{UDEV} sleep 1; lsmod | grep -c ^snd_xen_front || true; {NODES}")
        lines = told.splitlines()
        expect(lines[0] == "0", f"snd_xen_front is loaded again: {told}")
        nodes = [line for line in lines if "root:xen-audio 660" in line]
        expect(len(nodes) == 4, told)
        figures.append("without the file it is loaded, with it not; 4 devices root:xen-audio 660")
    with lab.scenario("installed.modules_are_loaded_at_boot") as figures:
        guest.must("rmmod xen_gntdev; /lib/systemd/systemd-modules-load; lsmod | grep ^xen_gntdev")
        figures.append("systemd-modules-load")
    with lab.scenario("installed.sound_as_a_user") as figures:
        figures.append(sound(guest))


# The emulator is slow and stops now and then: long cycles and a long lead hide it, as in our_front.
QUANTUM_FRAMES = 4096
PATIENT = f"--quantum-frames {QUANTUM_FRAMES} --period-frames 2048 --lead-frames 16384"


def sound(guest: Guest) -> str:
    """PipeWire, frontend and clients as one user; what is played comes back by the host's loop."""
    (line,) = exec_start("xen-pv-audio-frontend")
    session = f"export DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{USER}/bus;"
    guest.must(
        f"{session} chmod 777 $OUT; cat > /tmp/session <<'END'\n"
        "cd /tmp; . /run/lab/inside/pw-start > /dev/null 2>&1 < /dev/null\n"
        "for i in $(seq 120); do wpctl status > /dev/null && break; sleep 0.5; done\n"
        f"pw-metadata -n settings 0 clock.force-quantum {QUANTUM_FRAMES}\n"
        f"setsid {line} {PATIENT} > /tmp/frontend.log 2>&1 < /dev/null &\nEND\n"
        "mkdir -p /etc/wireplumber/{bluetooth.lua,wireplumber.conf}.d; "
        "chmod 777 /etc/wireplumber/*.d;"
        f"{AS_USER} bash /tmp/session"
    )
    wait_connected(guest)

    def listed() -> str:
        return guest.run(f"{session} {AS_USER} pw-cli ls Node | grep node.name").output

    wait_until(lambda: SINK in listed() and SOURCE in listed(), "nodes")
    at_rest(guest)
    try:
        return f"{line}: {round_trip(guest, session, AS_USER, attempts=3)}"
    except GuestError as error:
        log = guest.run("cat /tmp/frontend.log").output
        raise GuestError(f"{error} {log[-300:]}") from error
