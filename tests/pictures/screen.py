"""An X server without a screen, and pictures of what is drawn there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from xenpvaudio.errors import UnavailableError

COLOURS = 128


@contextmanager
def screen(width: int, height: int) -> Iterator[str]:
    """Its DISPLAY; in pixels."""
    reading, writing = os.pipe()
    size = f"{width}x{height}x24"
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as number:
            if not (found := number.readline().strip()):
                raise UnavailableError("Xvfb does not start")
        yield f":{found}"
    finally:
        server.terminate()
        server.wait()


def windows(env: Mapping[str, str]) -> str:
    """The titles of all, and more."""
    done = subprocess.run(
        ["xwininfo", "-root", "-tree"], env=env, capture_output=True, text=True, check=False
    )
    return done.stdout


def grab(env: Mapping[str, str], part: str, target: Path) -> None:
    """The part "WIDTHxHEIGHT+X+Y" of the screen, as a small PNG."""
    command = ["import", "-window", "root", "-crop", part, "+repage", "-strip", "+dither"]
    command += ["-colors", str(COLOURS), f"png8:{target}"]
    subprocess.run(command, env=env, check=True)
