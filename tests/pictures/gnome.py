"""GNOME's settings with its sound panel, in a root of its own: they bring half a desktop along.

They talk to the guest's sound server as any program does, by its socket. What they ask other
services of a desktop gets no answer, which they take.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aptroot import CannotRunError, run
from interop.sound import eventually
from pictures.screen import grab, windows
from roots.root import build, mounted
from xenpvaudio.errors import UnavailableError
from xenpvaudio.testbed.testbed import Testbed

PACKAGES = ("adwaita-icon-theme", "dbus-daemon", "fonts-cantarell", "gnome-control-center")
TITLE = "Settings"
# Without a window manager a window is as large as it wants to be, and in the corner.
WIDTH, HEIGHT = 980, 640
PANEL = "570x410+340+125"
MARGIN = ("352", "560")  # where the wheel is turned: over a slider it would move that
DRAWN_SEC = 8.0
RUNTIME = "/run/guest"


@contextmanager
def room(bed: Testbed) -> Iterator[Path]:
    """A root with GNOME's settings, in which the guest's sockets are at RUNTIME."""
    try:
        root = build("gnome", "bookworm", PACKAGES)
    except CannotRunError as error:
        raise UnavailableError(str(error)) from error
    inside = root / RUNTIME.lstrip("/")
    inside.mkdir(parents=True, exist_ok=True)
    with mounted(root):
        run("mount", "--bind", "--make-private", bed.guest.env["XDG_RUNTIME_DIR"], inside)
        try:
            yield root
        finally:
            run("umount", "--lazy", inside)


def panel(bed: Testbed, display: str, target: Path) -> None:
    """The sound panel of the guest, as a PNG; needs root and mmdebstrap. UnavailableError."""
    inside = {
        "DISPLAY": display,
        "GDK_BACKEND": "x11",
        "GSK_RENDERER": "cairo",
        "GTK_A11Y": "none",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PULSE_SERVER": f"unix:{RUNTIME}/pulse/native",
        "XDG_CURRENT_DESKTOP": "GNOME",
        "XDG_RUNTIME_DIR": RUNTIME,
    }
    # it aborts without a bus for the system's services
    start = "DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS exec gnome-control-center sound"
    env = {**os.environ, "DISPLAY": display}
    with room(bed) as root:
        command = ["chroot", str(root), "dbus-run-session", "sh", "-c", start]
        settings = subprocess.Popen(
            command,
            env=inside,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(lambda: TITLE in windows(env), "GNOME's settings show no window")
            time.sleep(DRAWN_SEC)
            scroll = ["xdotool", "mousemove", *MARGIN, "click", "--repeat", "30", "5"]
            subprocess.run(scroll, env=env, check=True)
            time.sleep(1)
            grab(env, PANEL, target)
        finally:
            os.killpg(settings.pid, signal.SIGKILL)
            settings.wait()
