"""Sound without PipeWire: ALSA programs in a guest, and PulseAudio or a sound device on a host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xenpvaudio.testbed.alsa.files import (
    PLUGIN_FOLDERS,
    PLUGINS,
    SNIPPET,
    SNIPPET_FOLDERS,
    installed,
)
from xenpvaudio.xen.connect import SIM_VARIABLE

from .finding import Finding, ok, wrong
from .graph_checks import pulse_socket
from .machine import Machine
from .place import alsa_socket_path

SYSTEM = Path("/run/xen-pv-audio-frontend")
"""RuntimeDirectory= of the system's unit."""
PACKAGE = "sudo apt-get install ./dist/xen-pv-audio-alsa_*.deb"


def _listening(machine: Machine) -> list[Path]:
    """Where the plugin looks for a frontend, as far as this user can tell."""
    domid = machine.environ.get(SIM_VARIABLE, "").rpartition(":")[2]
    own = alsa_socket_path(int(domid or 0), machine.environ)
    return [own] if domid else [own, SYSTEM / own.name]


def serves_programs(machine: Machine) -> bool:
    """Whether a frontend listens to ALSA programs here."""
    return any(machine.exists(str(path).lstrip("/")) for path in _listening(machine))


def alsa_guest(machine: Machine) -> Iterator[Finding]:
    """What a program needs to open the device xenpv."""
    for name in PLUGINS:
        if installed(name, PLUGIN_FOLDERS, machine.root):
            yield ok("alsa", f"alsa-lib finds {name}")
        else:
            yield wrong("alsa", f"{name} is in no folder where alsa-lib looks", PACKAGE)
    if installed(SNIPPET, SNIPPET_FOLDERS, machine.root):
        yield ok("alsa", "the device xenpv is defined")
    else:
        mend = "sudo install -D -m 644 -t /etc/alsa/conf.d packaging/alsa/50-xen-pv-audio.conf"
        yield wrong("alsa", "no ALSA configuration defines the device xenpv", mend)
    if serves_programs(machine):
        yield ok("devices", "a frontend serves ALSA programs")
    else:
        yield wrong(
            "devices",
            f"no frontend serves ALSA programs: there is no {_listening(machine)[0]}",
            "systemctl --user restart xen-pv-audio-frontend; what it says: journalctl --user -u "
            "xen-pv-audio-frontend",
        )


def host_without_pipewire(machine: Machine, kinds: set[str]) -> Iterator[Finding]:
    """What the policy's outputs of these kinds need, PipeWire's apart."""
    if "pulse" in kinds:
        yield _pulse_server(machine)
    if "alsa" in kinds:
        yield _sound_devices(machine)


def _pulse_server(machine: Machine) -> Finding:
    socket = pulse_socket(machine)
    if socket is None or machine.exists(socket.lstrip("/")):
        return ok("pulse", "there is a PulseAudio server for the output pulse")
    return wrong(
        "pulse",
        f"the output is pulse, and no PulseAudio server listens at {socket}",
        "pulseaudio --start",
    )


def _sound_devices(machine: Machine) -> Finding:
    devices = sorted(machine.root.glob("dev/snd/pcm*"))
    if not devices:
        return wrong(
            "alsa",
            "the output is alsa, and this machine has no sound device (/dev/snd/pcm*)",
            "load its driver; lspci -k names it",
        )
    closed = [p for p in devices if not machine.may_open(str(p.relative_to(machine.root)))]
    if not closed:
        return ok("alsa", f"{len(devices)} sound devices for the output alsa")
    names = " ".join(f"/{path.relative_to(machine.root)}" for path in closed)
    return wrong(
        "alsa",
        f"{machine.user.name} may not open {names}",
        f"sudo usermod --append --groups audio {machine.user.name}; log in anew",
    )
