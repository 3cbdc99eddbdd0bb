"""The Debian packages on arm64, emulated: built in a root of that architecture, installed there,
and the demo played by them. It shows that everything works on such a machine, and nothing about
time: an emulated machine is some ten times as slow, and silence that it inserts is counted and no
fault.

    python3 tests/roots/arm64.py [SUITE]      by default Debian 12

Needs root, mmdebstrap, arch-test and qemu-user-static. The kernel is told to start arm64's programs
by qemu, if nobody has told it so before, for as long as this runs.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from aptroot import CannotRunError, run
from roots.install import (
    CONTROL,
    FOUND,
    USER,
    Place,
    WrongError,
    building,
    built,
    demonstration,
    expect,
    names,
)
from roots.root import UNREAD, build, mounted, say

ARCHITECTURE = "arm64"
HANDLERS = Path("/proc/sys/fs/binfmt_misc")
HANDLER = HANDLERS / "qemu-aarch64"
# Debian's line for the kernel; its flag F has the emulator opened now, so that a root needs none.
RECIPE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")


@contextmanager
def emulated() -> Iterator[None]:
    """The kernel starts programs of that architecture."""
    if os.geteuid() != 0:
        raise CannotRunError("a machine is emulated as root (mmdebstrap, chroot)")
    if shutil.which("qemu-aarch64-static") is None or not RECIPE.exists():
        raise CannotRunError("the emulator is missing: apt install qemu-user-static arch-test")
    found = HANDLERS.is_mount()
    if not found:
        run("mount", "-t", "binfmt_misc", "binfmt_misc", HANDLERS)
    told = HANDLER.exists()
    try:
        if not told:
            (HANDLERS / "register").write_text(RECIPE.read_text().strip())
        yield
    finally:
        if not told and HANDLER.exists():
            HANDLER.write_text("-1")
        if not found:
            run("umount", HANDLERS)


def try_out(suite: str) -> None:
    """WrongError if something is not as it should be."""
    wanted = {*building(), *names(CONTROL.read_text(), "Depends", "Recommends"), *FOUND}
    options = [f"--architectures={ARCHITECTURE}", *UNREAD]
    root = build(f"{ARCHITECTURE}-{suite}", suite, sorted(wanted), options)
    started = time.monotonic()
    debs = built(root)
    print(f"{suite}: built in {time.monotonic() - started:.0f} s", flush=True)
    place = Place(root)
    with mounted(root):
        for deb in debs:
            print(f"{suite}: {deb.name} {deb.stat().st_size / 1000:.0f} kB", flush=True)
        files = shlex.join(f"/{deb.relative_to(root)}" for deb in debs)
        try:
            place.apt(f"install {files}")
            run("chroot", root, "install", "-d", "-o", USER, "/tmp/home")
            machine = place.run("uname -m", USER).strip()
            demo = demonstration(place)
        finally:
            place.apt("purge 'xen-pv-audio-*'")
    expect(machine == "aarch64", f"the machine is {machine}")
    print(f"{suite}: the demo: {demo['frames_received']} frames, bit-exact, {demo['xruns']} xruns")


def main(arguments: Sequence[str]) -> int:
    (suite,) = arguments or ("bookworm",)
    try:
        with emulated():
            try_out(suite)
    except WrongError as error:
        print(f"{suite}: WRONG: {error}", flush=True)
        return 1
    except CannotRunError as error:
        say(str(error))
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
