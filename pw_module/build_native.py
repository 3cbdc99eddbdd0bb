"""Build recipe of the one extension module, `xenpvaudio_native._native` (abi3, API mode of cffi).

Every declaration is written once: pw_module/src/abi/*.cdef.h are plain C declarations, included by
the C files and given to `ffi.cdef()`; pw_module/src/abi/sndif.cdef lists names of Xen's public
header and lets the compiler supply each value and offset, and inotify.cdef does so for the
kernel's. setup.py calls `make_ffi` through cffi's hook.

Run as a program it only checks that the machine has what the build needs: one line for the first
thing that is missing, with its Debian package, and exit status 3.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cffi import FFI

MODULE = "xenpvaudio_native._native"
# Libraries of their own: build_plugins.py.
PLUGIN_ROOM = "ioplug"
PIPEWIRE_MODULE = "libpipewire-0.3"
PIPEWIRE_VERSION = "0.3.65"
# Relative to the project's root, where setup.py runs: setuptools refuses absolute source paths.
SOURCE_DIR = Path("pw_module/src")
ROOT = Path(__file__).resolve().parent.parent

# Of libraries that a host may have or not: opened when they are wanted (pulse/library.h), so only
# their headers are needed.
OUTPUT_HEADERS = (("pulse/pulseaudio.h", "libpulse-dev"), ("alsa/asoundlib.h", "libasound2-dev"))

# "room/file.h" is ours, <...> the system's: both have a pipewire/core.h.
QUOTED_INCLUDES = ["-iquote", str(SOURCE_DIR)]
COMPILE_FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"]

# Before the first project header. <xen/xen.h> and friends want fixed-width types to exist.
SYSTEM_INCLUDES = """\
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/inotify.h>
#include <xen/xen.h>
#include <xen/errno.h>
#include <xen/io/sndif.h>
#include <xen/io/xenbus.h>
"""

PROJECT_INCLUDES = """\
#include "abi/abi.h"
#include "xen/position_ext.h"
#include "xen/volume_ext.h"
"""

# What follows in this file is written by cffi, not by us: it may leave parameters unused.
GENERATED_CODE_PRAGMAS = """\
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
"""


class MissingPackageError(Exception):
    """Something the build needs is not installed; the text is one line naming its package."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(
            f"xen-pv-audio: {what} is missing: apt install {package} "
            "(or run packaging/setup-debian.sh)"
        )


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def _includes(header: str, *flags: str) -> bool:
    """Whether the compiler finds `header` (this follows multiarch paths and CPPFLAGS' like)."""
    extra = shlex.split(os.environ.get("CPPFLAGS", "") + " " + os.environ.get("CFLAGS", ""))
    done = subprocess.run(
        [*_compiler(), *extra, *flags, "-E", "-o", os.devnull, "-x", "c", "-"],
        input=f"#include <stdint.h>\n#include <{header}>\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0


def pkg_config(*args: str) -> list[str] | None:
    program = os.environ.get("PKG_CONFIG", "pkg-config")
    done = subprocess.run([program, *args], capture_output=True, text=True, check=False)
    return shlex.split(done.stdout) if done.returncode == 0 else None


def check_machine() -> None:
    """Raises MissingPackageError for the first system package that the build lacks."""
    if not shutil.which(_compiler()[0]):
        raise MissingPackageError(f"the C compiler ({_compiler()[0]})", "gcc libc6-dev")
    if not _includes("errno.h"):
        raise MissingPackageError("the C library's headers", "libc6-dev")
    if not shutil.which(os.environ.get("PKG_CONFIG", "pkg-config")):
        raise MissingPackageError("pkg-config", "pkg-config")
    wanted = f"{PIPEWIRE_MODULE} >= {PIPEWIRE_VERSION}"
    if pkg_config("--exists", wanted) is None:
        found = pkg_config("--modversion", PIPEWIRE_MODULE)
        have = f" (found {found[0]})" if found else ""
        raise MissingPackageError(f"{wanted}{have}", "libpipewire-0.3-dev")
    for header, package in OUTPUT_HEADERS:
        if not _includes(header):
            raise MissingPackageError(header, package)
    if not _includes("Python.h", f"-I{sysconfig.get_path('include')}"):
        raise MissingPackageError("Python.h", "python3-dev")
    # linux-libc-dev and libxen-dev share the folder /usr/include/xen.
    if not _includes("xen/gntalloc.h"):
        raise MissingPackageError("xen/gntalloc.h", "linux-libc-dev")
    if not _includes("xen/io/sndif.h"):
        raise MissingPackageError("xen/io/sndif.h", "libxen-dev")


def _compile_flags() -> list[str]:
    """PipeWire's include paths as system paths: -Werror is for our files, not for its headers."""
    flags = pkg_config("--cflags", PIPEWIRE_MODULE) or []
    paths = [flag[2:] for flag in flags if flag.startswith("-I")]
    rest = [flag for flag in flags if not flag.startswith("-I")]
    return [*COMPILE_FLAGS, *rest, *(part for path in paths for part in ("-isystem", path))]


def declarations() -> list[Path]:
    """What cffi reads, relative to the root; abi.h names them, every type before its use."""
    included = (ROOT / SOURCE_DIR / "abi" / "abi.h").read_text(encoding="utf-8")
    headers = re.findall(r'^#include "(.+\.cdef\.h)"$', included, re.MULTILINE)
    return [SOURCE_DIR / name for name in ("abi/sndif.cdef", "abi/inotify.cdef", *headers)]


def make_ffi() -> FFI:
    """The configured builder, for setup.py's cffi_modules; ends the program if a package lacks."""
    from cffi import FFI

    try:
        check_machine()
    except MissingPackageError as error:
        sys.exit(str(error))
    files = declarations()
    ffi = FFI()
    for path in files:
        ffi.cdef((ROOT / path).read_text(encoding="utf-8"))
    source_dir = ROOT / SOURCE_DIR
    relative = [path.relative_to(ROOT) for path in sorted(source_dir.glob("*/*")) if path.is_file()]
    ffi.set_source(
        MODULE,
        SYSTEM_INCLUDES + PROJECT_INCLUDES + GENERATED_CODE_PRAGMAS,
        sources=[
            str(path)
            for path in relative
            if path.suffix == ".c" and path.parent.name != PLUGIN_ROOM
        ],
        depends=[str(path) for path in relative if path.suffix in (".h", ".cdef")],
        extra_compile_args=[*QUOTED_INCLUDES, *_compile_flags()],
        extra_link_args=pkg_config("--libs", PIPEWIRE_MODULE) or [],
        libraries=["m", "pthread", "dl"],
        py_limited_api=True,
    )
    return ffi


if __name__ == "__main__":
    try:
        check_machine()
    except MissingPackageError as error:
        print(error, file=sys.stderr)
        sys.exit(3)
