"""Removes folders of a process that did not live to remove them itself.

A process of its own listens at a pipe; the kernel closes the other end when the process that made
the folders ends, however it ends. It is told of each folder, and when it is gone, by a line of JSON
each: [kept, path]; a name may hold anything, line breaks too. Processes are not its matter: they
ask the kernel to end them (guard()).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

# What still writes there has been asked to end at the same moment.
GRACE_SEC = 3.0


class Keeper:
    """One for a process, started with its first folder. The main thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def keep(self, folder: Path) -> Path:
        self._tell(folder, kept=True)
        return folder

    def remove(self, folder: Path) -> None:
        """Now, by ourselves."""
        shutil.rmtree(folder, ignore_errors=True)
        self._tell(folder, kept=False)

    def _tell(self, folder: Path, *, kept: bool) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([kept, str(folder)]) + "\n")
            self._process.stdin.flush()
        except OSError:  # somebody ended it: what it was for is tidiness
            self._process = None


KEEPER = Keeper()


def guard(number: str = "TERM") -> list[str]:
    """What to put in front of a command that is to end with the thread that starts it, by that
    signal."""
    return ["setpriv", "--pdeathsig", number, "--"] if shutil.which("setpriv") else []


def main() -> None:
    folders: set[str] = set()
    for line in sys.stdin:
        kept, folder = json.loads(line)
        if kept:
            folders.add(folder)
        else:
            folders.discard(folder)
    if folders:
        time.sleep(GRACE_SEC)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
