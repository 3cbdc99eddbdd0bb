"""Trees of Debian packages, as the lab's images and the roots of other releases are built: where
packages come from, and how such a tree is taken away again."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

APT_LOCK = Path(__file__).resolve().parents[1] / ".cache" / "apt.lock"


class CannotRunError(Exception):
    """This machine cannot do it; the message says why."""


def run(*command: str | Path, input: str = "", cwd: Path | None = None) -> str:
    """Standard output; the command's own messages stay on stderr. CannotRunError names it."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, input=input, stdout=subprocess.PIPE, text=True, cwd=cwd, check=False
    )
    if done.returncode:
        raise CannotRunError(f"{' '.join(words[:3])} ended with status {done.returncode}")
    return done.stdout


@contextmanager
def apt_alone() -> Iterator[None]:
    """For the machine's own apt, which waits for no other: one program of this tree at a time."""
    APT_LOCK.parent.mkdir(parents=True, exist_ok=True)
    with APT_LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def apt_sources(suites: Sequence[str], security: str = "") -> str:
    """Lines for apt, from the mirrors that this machine's own apt uses; `security` is a suite of
    the mirror for security updates, if this machine has one."""
    lines = run(
        "apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)", "Identifier: Packages"
    ).splitlines()
    sites: dict[bool, str] = {}
    for line in lines:
        codename, _, site = line.partition(" ")
        sites.setdefault(codename.endswith("-security"), site)
    if False not in sites:
        raise CannotRunError("this machine's apt has no mirror: run apt-get update")
    sources = [f"deb {sites[False]} {suite} main" for suite in suites]
    if security and True in sites:
        sources.append(f"deb {sites[True]} {security} main")
    return "\n".join(sources) + "\n"


def mounts_below(path: Path) -> list[str]:
    """Deepest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return sorted((p for p in points if p.startswith(f"{path}/")), key=len, reverse=True)


def remove_tree(path: Path) -> None:
    """Never past a mount point: a command that was killed may have left one."""
    if path.exists():
        if left := mounts_below(path):
            raise CannotRunError(f"still mounted: {', '.join(left)}")
        run("rm", "-rf", "--one-file-system", path)
