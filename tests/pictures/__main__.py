"""Program: the README's pictures, of a guest that plays and records: pavucontrol's tabs, GNOME's
sound panel, `status`.

    python -m pictures FOLDER

The mixers run in the guest of a test bed, on an X server without a screen; `status` is drawn by
rich. What it needs besides the tests' packages: pavucontrol, imagemagick, xdotool, and for GNOME's
panel root and mmdebstrap.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from interop.sound import eventually
from pictures import gnome
from pictures.screen import grab, screen, windows
from xenpvaudio.control.client import status_all
from xenpvaudio.control.status.applications import applications
from xenpvaudio.control.status.command import picture
from xenpvaudio.control.status.lines import WIDTH as COLUMNS
from xenpvaudio.control.status.lines import lines
from xenpvaudio.errors import UnavailableError, XenPvAudioError
from xenpvaudio.sound.speech import speech_bytes
from xenpvaudio.sound.wav import write_wav
from xenpvaudio.testbed.testbed import GUEST_DOMID, SINK, SOURCE, Testbed, card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE

PROGRAMS = {
    "Xvfb": "xvfb",
    "import": "imagemagick",
    "pavucontrol": "pavucontrol",
    "xdotool": "xdotool",
}
# As --tab counts them, and how many lines of the window have something in them.
TABS = {"output": (3, 226), "input": (4, 226), "configuration": (5, 120)}
TITLE = "Volume Control"
WIDTH = 500
HEIGHT = 400
DRAWN_SEC = 3.0
MOST_BYTES = 100_000
SPEECH_SEC = 60


def mixer(bed: Testbed, display: str, tab: int, height: int, target: Path) -> None:
    """pavucontrol's window with that tab."""
    env = {**bed.guest.env, "DISPLAY": display, "GDK_BACKEND": "x11", "NO_AT_BRIDGE": "1"}
    # without a window manager a window is as large as it wants to be
    command = ["pavucontrol", f"--tab={tab}"]
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as window:
        try:
            eventually(lambda: TITLE in windows(env), "pavucontrol shows no window")
            time.sleep(DRAWN_SEC)
            grab(env, f"{WIDTH}x{height}+0+0", target)
        finally:
            window.terminate()


def status(env: Mapping[str, str], target: Path) -> None:
    """What `xen-pv-audio status` prints, as SVG that loads nothing from elsewhere."""
    from rich.console import Console

    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(picture(lines(status_all(env), applications(env))))
    drawn = console.export_svg(title="xen-pv-audio status")
    target.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))


def running(bed: Testbed, name: str) -> bool:
    return (bed.node(name) or {}).get("xenpv.state") == "running"


def draw(folder: Path) -> list[Path]:
    """All pictures."""
    drawn = {word: folder / f"pavucontrol-{word}.png" for word in TABS}
    drawn_gnome = folder / "gnome-sound.png"
    drawn_status = folder / "status.svg"
    with Testbed(card_nodes()) as bed:
        for name in (SINK, SOURCE):
            bed.wait_for_node(name)
        speech = bed.directory / "speech.wav"
        write_wav(speech, 48000, 2, "s16", speech_bytes(SPEECH_SEC, 48000, 2))
        bed.guest.popen(["pw-play", "--target", SINK, str(speech)])
        bed.guest.popen(["pw-record", "--target", SOURCE, str(bed.directory / "recorded.wav")])
        for name in (SINK, SOURCE):
            eventually(lambda name=name: running(bed, name), f"{name} does not run")
        with screen(WIDTH, HEIGHT) as display:
            for word, (tab, height) in TABS.items():
                mixer(bed, display, tab, height, drawn[word])
        with screen(gnome.WIDTH, gnome.HEIGHT) as display:
            gnome.panel(bed, display, drawn_gnome)
        guest = {SIM_VARIABLE: f"{bed.directory / 'xen'}:{GUEST_DOMID}"}
        status({**bed.guest.env, **guest}, drawn_status)
    return [*drawn.values(), drawn_gnome, drawn_status]


def main() -> int:
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise UnavailableError(f"{program} is missing", hint=f"apt install {package}")
    folder = Path(sys.argv[1])
    for path in draw(folder):
        size = path.stat().st_size
        print(f"{path} ({size} bytes)")
        if size > MOST_BYTES:
            raise XenPvAudioError(f"{path} is larger than {MOST_BYTES} bytes")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except XenPvAudioError as error:
        print(f"pictures: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
