"""Xen under this machine, the kernel's drivers and devices, and whether this user may use them."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Finding, ok, wrong
from .machine import GROUP, Machine

# Device -> the module that makes it (packaging/modules-load.d).
FRONTEND_DEVICES = {"evtchn": "xen-evtchn", "gntalloc": "xen-gntalloc", "xenbus": "xenfs"}
BACKEND_DEVICES = {"evtchn": "xen-evtchn", "gntdev": "xen-gntdev"}
KERNEL_DRIVER = "snd_xen_front"
RTKIT = "usr/libexec/rtkit-daemon"


def hypervisor(machine: Machine) -> Finding:
    if machine.is_simulated:
        return ok("hypervisor", "the simulated Xen of this environment")
    kind = machine.text("sys/hypervisor/type").strip()
    if kind == "xen":
        return ok("hypervisor", "Xen")
    told = f"the hypervisor is {kind}, not Xen" if kind else "this machine does not run on Xen"
    return wrong("hypervisor", told, "use it in a Xen guest or dom0, or try: xen-pv-audio demo")


def kernel_driver(machine: Machine) -> Finding:
    """Both ends of a card in the guest take its state back from each other."""
    if KERNEL_DRIVER not in machine.modules():
        return ok("kernel-driver", f"{KERNEL_DRIVER} is not loaded")
    return wrong(
        "kernel-driver",
        f"{KERNEL_DRIVER}, the kernel's own driver, is loaded and serves the same cards",
        f"echo 'blacklist {KERNEL_DRIVER}' | sudo tee /etc/modprobe.d/xen-pv-audio.conf; "
        f"sudo rmmod {KERNEL_DRIVER}",
    )


def devices(machine: Machine, wanted: dict[str, str]) -> Iterator[Finding]:
    if machine.is_simulated:
        return
    for device, module in wanted.items():
        name = f"dev/xen/{device}"
        try:
            may_open = machine.may_open(name)
        except OSError:
            yield wrong(
                "device",
                f"/{name} is not there",
                f"sudo modprobe {module}; echo {module} | sudo tee -a "
                "/etc/modules-load.d/xen-pv-audio.conf",
            )
            continue
        if may_open:
            yield ok("device", f"/{name}")
        else:
            yield _no_right(machine, name)


def _no_right(machine: Machine, name: str) -> Finding:
    user, group = machine.user, machine.group()
    who = f"{user.name} may not open /{name}"
    if group is None:
        return wrong("rights", f"{who}: there is no group {GROUP}", f"sudo groupadd -r {GROUP}")
    number, members = group
    if user.name not in members and number not in user.gids:
        return wrong(
            "rights",
            f"{who} and is not in the group {GROUP}",
            f"sudo usermod -aG {GROUP} {user.name}; then log in anew",
        )
    if number not in user.gids:
        return wrong(
            "rights",
            f"{who}: the group {GROUP} does not hold in this login yet",
            "log out of every session of this user and in again, or: sudo loginctl terminate-user "
            + user.name,
        )
    return wrong(
        "rights",
        f"{who}: it does not belong to the group {GROUP}",
        "sudo install -D -m 644 -t /etc/udev/rules.d packaging/udev/70-xen-pv-audio.rules; "
        "sudo udevadm control --reload; sudo udevadm trigger",
    )


def real_time(machine: Machine) -> Finding:
    user = machine.user
    if user.uid == 0 or user.rtprio != 0 or machine.exists(RTKIT):
        return ok("real-time", "audio threads can get real-time priority")
    return wrong(
        "real-time",
        "audio threads get no real-time priority: there is no rtkit, and the user's limit is 0",
        "sudo apt-get install rtkit; systemctl --user restart pipewire",
    )
