"""Object files of sources in C, each compiled once for all tests, processes and runs.

What the compiler's own preprocessor makes of a source says which object it is, with the command and
the compiler's version: so a twin whose header was changed shares those that do not include it. They
stay in .cache/objects for a day after their last use. Several processes may use it at once: an
object appears there whole, and two that make the same one at the same time make it twice.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / ".cache" / "objects"
KEPT_SEC = 24 * 3600.0


def compiled(
    source: Path, command: Sequence[str], places: Sequence[Path] = (), folder: Path = FOLDER
) -> Path:
    """The object file that `command`, a compiler and its flags, makes of the source. `places`:
    folders of headers that are quoted, in this order.

    AssertionError: it does not compile; what the compiler says."""
    looked = [word for place in places for word in ("-iquote", str(place))]
    key = [*command, _version(command[0]), run([*command, *looked, "-E", str(source)])]
    name = hashlib.sha256("\0".join(key).encode(errors="surrogateescape")).hexdigest()[:32]
    found = folder / f"{source.stem}-{name}.o"
    try:
        os.utime(found)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_unused(folder)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            made = Path(place) / found.name
            run([*command, *looked, "-c", str(source), "-o", str(made)])
            made.replace(found)
    return found


def run(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="surrogateescape", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def _version(compiler: str) -> str:
    return run([compiler, "--version"])


@cache
def _remove_unused(folder: Path) -> None:
    """Once in a process."""
    for path in folder.glob("*.o"):
        try:
            if time.time() - path.stat().st_mtime > KEPT_SEC:
                path.unlink()
        except FileNotFoundError:
            pass  # another process has removed it
