"""Debian's kernel packages: the newest of a suite, and its files in whatever form they come.

Up to 6.x one package, linux-image-VERSION, has all; a 7.x kernel is in three (linux-binary,
-modules and -base), the image is below usr/lib/modules instead of boot/, and drivers that were
modules are built in. Modules are plain, or packed by xz or zstd. What is found in no known form is
one CannotRunError that says what was looked for, where, and what to do. Nothing here asks a mirror
or a root file system itself: the caller does, so all of it is tested without one.
"""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from aptroot import CannotRunError

META_PACKAGE = "linux-image-amd64"
# What finds the root disk: each of these as a module or built in ...
INITRD_MODULES = ("virtio_pci", "virtio_blk", "xen-blkfront", "ext4")
# ... and what older kernels ask for by a name that ext4 does not depend on.
INITRD_MODULES_IF_ANY = ("crc32c_generic",)


# -- which packages


VersionKey = tuple[tuple[tuple[int, ...], int], ...]


def version_key(version: str) -> tuple[int, VersionKey, VersionKey]:
    """Sorts like dpkg: a tilde before the end, the end before letters, these before the rest."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch), _part_key(upstream), _part_key(revision)


def _part_key(part: str) -> VersionKey:
    def order(letter: str) -> int:
        return -1 if letter == "~" else ord(letter) + (0 if letter.isalpha() else 256)

    # The last pair is empty: it stands for the end.
    pairs = re.findall(r"(\D*)(\d*)", part)
    return tuple(((*map(order, text), 0), int(digits or 0)) for text, digits in pairs)


def newest(versions: Iterable[str], of: str) -> str:
    found = list(versions)
    if not found:
        raise no_package(of)
    return max(found, key=version_key)


def no_package(name: str) -> CannotRunError:
    return CannotRunError(
        f"the mirror has no package {name}: see what the suite calls it now, and change "
        "tests/xen/images.py or debian_kernel.py"
    )


def fields(text: str, name: str) -> list[str]:
    """That field of each paragraph of apt's output."""
    return re.findall(rf"^{name}: (.*)$", text, re.MULTILINE)


def kernel_packages(show: Callable[[str], str]) -> list[str]:
    """The newest kernel's packages, as NAME=VERSION; `show`: what apt-cache says of a package, or
    nothing. The meta package depends on them, by one step or by several."""
    chosen: dict[str, str] = {}
    wanted = [(META_PACKAGE, "")]
    while wanted:
        name, version = wanted.pop()
        if name in chosen:
            continue
        version = version or newest(fields(show(name), "Version"), name)
        chosen[name] = version
        wanted += needed_packages(show(f"{name}={version}"))
    if len(chosen) < 2:
        raise CannotRunError(f"{META_PACKAGE} {chosen[META_PACKAGE]} depends on no kernel package")
    return [f"{name}={version}" for name, version in chosen.items() if name != META_PACKAGE]


def needed_packages(paragraph: str) -> list[tuple[str, str]]:
    """(name, version if one is asked for) of the parts of a kernel that a package depends on."""
    depends = ", ".join(fields(paragraph, "Pre-Depends") + fields(paragraph, "Depends"))
    found = re.findall(r"(?:^|, )(linux-[^ ,|]+)(?: \(= ([^)]+)\))?", depends)
    return [(name.partition(":")[0], version) for name, version in found]


# -- what is in them


def first(paths: Iterable[Path], what: str) -> Path:
    """The first that exists."""
    tried = list(paths)
    for path in tried:
        if path.exists():
            return path
    places = ", ".join(map(str, tried)) or "no file of such a name"
    raise CannotRunError(
        f"Debian's packages have no {what} where it was ({places}): look where they have it now, "
        "and add that to tests/xen/images.py or debian_kernel.py"
    )


def module_directories(tree: Path) -> list[Path]:
    """The parts of lib/modules/VERSION in the unpacked packages; of one version."""
    tops = [tree / name / "modules" for name in ("lib", "usr/lib")]
    found = [path for top in tops if top.is_dir() for path in sorted(top.iterdir())]
    versions = {path.name for path in found}
    if len(versions) != 1:
        raise CannotRunError(
            f"the kernel's packages have modules of {len(versions)} versions, not of one: "
            f"{', '.join(sorted(versions)) or 'no lib/modules/VERSION'}"
        )
    return found


def kernel_image(tree: Path, version: str) -> Path:
    places = (
        f"boot/vmlinuz-{version}",
        f"usr/lib/modules/{version}/vmlinuz",
        f"lib/modules/{version}/vmlinuz",
    )
    return first((tree / place for place in places), f"image of Linux {version}")


def initrd_modules(show_depends: Callable[[str], str | None]) -> list[Path]:
    """The files that the initramfs needs, in the order of their loading. `show_depends`: modprobe's
    answer, "insmod PATH" or "builtin NAME" a line; None if it knows no such module."""
    paths: list[Path] = []
    for name in (*INITRD_MODULES, *INITRD_MODULES_IF_ANY):
        shown = show_depends(name)
        if shown is None and name in INITRD_MODULES:
            raise CannotRunError(
                f"the kernel has no module {name}, nor is it built in: see what it is called now, "
                "and change INITRD_MODULES in tests/xen/debian_kernel.py"
            )
        for words in map(str.split, (shown or "").splitlines()):
            if words[:1] == ["insmod"] and (path := Path(words[1])) not in paths:
                paths.append(path)
    return paths


def plain_module(path: Path) -> tuple[str, bytes]:
    """Name and content, unpacked: busybox' insmod takes no other."""
    name = path.name.partition(".ko")[0] + ".ko"
    data = path.read_bytes()
    return name, data if data.startswith(b"\x7fELF") else unpacked(data, str(path))


def unpacked(data: bytes, what: str) -> bytes:
    """What xz, gzip or zstd has packed."""
    if data.startswith(b"\xfd7zXZ\0"):
        # The kernel appends the unpacked size, four bytes, to the xz stream.
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(data)
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        if shutil.which("zstd") is None:
            raise CannotRunError(f"{what} is packed by zstd, which is missing: install zstd")
        # It complains of the kernel's four bytes, but only after all that is before them.
        command = ["zstd", "-dcq"]
        done = subprocess.run(
            command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        return done.stdout
    raise CannotRunError(f"{what} is packed in a way that is not known here: {data[:8].hex()}")


def extract_vmlinux(image: bytes) -> bytes:
    """The ELF kernel inside an x86 bzImage (Documentation/arch/x86/boot.rst: payload_offset)."""
    if image[0x202:0x206] != b"HdrS":
        raise CannotRunError("the kernel is not a bzImage")
    setup_sectors = (image[0x1F1] or 4) + 1
    offset, length = struct.unpack_from("<II", image, 0x248)
    elf = unpacked(image[setup_sectors * 512 + offset :][:length], "the kernel's payload")
    if not elf.startswith(b"\x7fELF"):
        raise CannotRunError("the kernel's payload is not ELF")
    return elf
