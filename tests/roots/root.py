"""Another Debian release on this machine: the project built and tested in a root of its own.

    python3 tests/roots/root.py trixie                    builds the root, if it is not there yet
    python3 tests/roots/root.py trixie COMMAND [ARG...]   runs a command in it, in the project

One root a suite under `.cache/roots/<suite>-<hash of this recipe>/`, by mmdebstrap from the mirrors
that this machine's own apt uses. The project is copied into it anew before each command (what git
tracks, and what is new and not ignored) and compiled there with that release's compiler, Python and
PipeWire; what the command needs comes from Debian packages alone. /proc, /dev and /sys are bound
for as long as a command runs.

Needs root and mmdebstrap; a root takes 60 to 90 s and 0.9 GB.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from aptroot import CannotRunError, apt_sources, remove_tree, run

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".cache" / "roots"
INSIDE = "project"
SUITES = ("bookworm", "trixie", "forky", "sid")

PACKAGES = """
    alsa-utils ca-certificates clang clang-format dbus-daemon gcc gcc-aarch64-linux-gnu
    libasound2-dev libc6-dev libc6-dev-arm64-cross libclang-rt-dev libpipewire-0.3-dev
    libpulse-dev libspa-0.2-modules libxen-dev
    linux-libc-dev pipewire pipewire-alsa pipewire-bin pipewire-jack pipewire-pulse pkgconf procps
    pulseaudio-utils python3 python3-cffi python3-dev python3-hypothesis python3-numpy
    python3-prometheus-client python3-pulsectl python3-pytest python3-pyxs python3-rich
    python3-setuptools qemu-user strace util-linux wireplumber
"""
# The JACK project's example clients: in Debian 12 they are in the server's package.
JACK = {"bookworm": "jackd2"}
JACK_PACKAGE = "jack-example-tools"
# A mirror that is frozen for a while is older than its Release file says that it may be.
APT_OPTIONS = ("Acquire::Check-Valid-Until false", "Apt::Install-Recommends false")
SOURCES = {".c", ".h", ".cdef", ".py"}
MOUNTS = ("proc", "dev", "dev/pts", "dev/shm", "sys")


def say(text: str) -> None:
    print(f"root: {text}", file=sys.stderr, flush=True)


def mirrors(suite: str) -> str:
    """Unstable has no updates beside it."""
    if suite == "sid":
        return apt_sources([suite])
    return apt_sources([suite, f"{suite}-updates"], f"{suite}-security")


def packages_for_tests(suite: str) -> list[str]:
    """What builds and tests the project there."""
    return [*PACKAGES.split(), JACK.get(suite, JACK_PACKAGE)]


UNREAD = tuple(f"--dpkgopt=path-exclude=/usr/share/{n}/*" for n in ("man", "doc", "locale", "info"))


def build(name: str, suite: str, packages: Sequence[str], options: Sequence[str] = UNREAD) -> Path:
    """The root of this name, made of these packages if it is not there yet; one of the same name
    and of other packages goes."""
    if suite not in SUITES:
        raise CannotRunError(f"no suite {suite}: one of {', '.join(SUITES)}")
    recipe = hashlib.sha256("\0".join([*packages, *options, *APT_OPTIONS]).encode())
    root = CACHE / f"{name}-{recipe.hexdigest()[:12]}"
    if root.exists():
        return root
    if os.geteuid() != 0:
        raise CannotRunError("roots are built as root (mmdebstrap, chroot)")
    if shutil.which("mmdebstrap") is None:
        raise CannotRunError("mmdebstrap is missing: apt install mmdebstrap")
    started = time.monotonic()
    work = CACHE / f"{name}.building"
    CACHE.mkdir(parents=True, exist_ok=True)
    remove_tree(work)
    say(f"mmdebstrap {suite}, for {name}")
    run(
        "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root",
        f"--include={','.join(packages)}", *(f"--aptopt={option}" for option in APT_OPTIONS),
        *options, suite, work, "-", input=mirrors(suite),
    )  # fmt: skip
    for old in CACHE.glob(f"{name}-*"):
        remove_tree(old)
    work.rename(root)
    say(f"{name} built in {time.monotonic() - started:.0f} s")
    return root


@contextmanager
def mounted(root: Path) -> Iterator[None]:
    """Bound, and private: what is unmounted here stays mounted outside."""
    with ExitStack() as stack:
        for name in MOUNTS:
            point = root / name
            point.mkdir(exist_ok=True)
            run("mount", "--bind", "--make-private", f"/{name}", point)
            stack.callback(run, "umount", "--lazy", point)
        yield


def copy_project(root: Path) -> None:
    """Only what differs, so that nothing is compiled twice."""
    files = run(
        "git", "-C", PROJECT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"
    )  # fmt: skip
    wanted = {name for name in files.split("\0") if name and (PROJECT / name).is_file()}
    inside = root / INSIDE
    inside.mkdir(exist_ok=True)
    listed = inside / ".copied"
    before = set(listed.read_text().splitlines()) if listed.exists() else set()
    for name in before - wanted:
        (inside / name).unlink(missing_ok=True)
    for name in wanted:
        source, copy = PROJECT / name, inside / name
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    listed.write_text("\n".join(sorted(wanted)))


# Where git is missing the project's own Makefile cannot be used: it wants a virtual environment.
_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH": f"/{INSIDE}/bridge:/{INSIDE}/pw_module:/{INSIDE}/tests",
}


def execute(root: Path, command: Sequence[str]) -> int:
    words = ["chroot", str(root), "env", "-C", f"/{INSIDE}", *command]
    return subprocess.run(words, env=_ENVIRONMENT, check=False).returncode


def is_compiled(inside: Path) -> bool:
    """Since any of the sources changed."""
    stamp = inside / ".compiled"
    sources = [path for path in (inside / "pw_module").rglob("*") if path.suffix in SOURCES]
    return stamp.exists() and all(s.stat().st_mtime < stamp.stat().st_mtime for s in sources)


def compile_project(root: Path) -> None:
    if is_compiled(root / INSIDE):
        return
    say("compiling")
    build_command = ["python3", "-W", "ignore", "setup.py", "-q", "build_ext", "--inplace"]
    if execute(root, [*build_command, "--force"]):
        raise CannotRunError("the project does not compile there")
    (root / INSIDE / ".compiled").touch()


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        suite, *command = arguments
        root = build(suite, suite, packages_for_tests(suite))
        copy_project(root)
        with mounted(root):
            compile_project(root)
            return execute(root, command) if command else 0
    except CannotRunError as error:
        say(str(error))
        return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
