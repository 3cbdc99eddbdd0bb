"""What the lab boots, from Debian packages alone: hypervisor, kernel, initramfs, root file system.

One read-only set for dom0 and every guest, under `.cache/xen/<suite>-<hash of this recipe>/`:

    xen           the hypervisor, unpacked ELF (QEMU loads it as multiboot)
    vmlinux       Debian's kernel, taken out of its bzImage (spares the unpacking under emulation)
    initrd.img    busybox and the modules that find the root disk
    rootfs.img    ext4, used by dom0 and the guests, each on a snapshot of its own
    busybox       static, for the initramfs and for `init`
    root/         the tree that rootfs.img was made of: the project is installed there by chroot

Needs root and mmdebstrap, 75 to 100 s and 1.2 GB. `python3 tests/xen/images.py [SUITE]` builds.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import lzma
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
CACHE = PROJECT / ".cache" / "xen"

# Debian's suites and the Xen that each ships.
XEN_VERSIONS = {"bookworm": "4.17", "trixie": "4.20"}

PACKAGES = """
    bash coreutils util-linux mount passwd procps kmod iproute2 udev systemd ca-certificates
    xen-utils-{xen} xen-utils-common xenstore-utils
    python3 python3-venv
    libpipewire-0.3-0 libspa-0.2-modules alsa-utils dbus pipewire pipewire-bin pipewire-pulse
    pipewire-alsa wireplumber pulseaudio-utils
"""

# Folders below kernel/ that stay in the image; the other 250 MB of modules are of no use here.
MODULE_DIRS = (
    "arch crypto lib fs/ext4 fs/jbd2 fs/fuse fs/nls drivers/xen drivers/block drivers/virtio "
    "drivers/char sound"
)
INITRD_MODULES = "virtio_pci virtio_blk xen-blkfront ext4 crc32c_generic"
FREE_MB = 300


class CannotRunError(Exception):
    """This machine cannot run the lab; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Images:
    """The finished set; `directory` holds the files named above."""

    suite: str
    xen_version: str
    directory: Path

    def path(self, name: str) -> Path:
        return self.directory / name

    @property
    def root(self) -> Path:
        return self.directory / "root"


def recipe_hash() -> str:
    """Changes with anything that the images are made of, the mirror's state excepted."""
    parts = [Path(__file__).read_bytes(), (HERE / "inside" / "initramfs-init").read_bytes()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def say(text: str) -> None:
    print(f"xen-images: {text}", file=sys.stderr, flush=True)


def run(*command: str | Path, input: str = "") -> str:
    """Standard output; the command's own messages stay on stderr. CannotRunError names it."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=input, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise CannotRunError(f"{command[0]} ended with status {done.returncode}")
    return done.stdout


def require_builder() -> None:
    if os.geteuid() != 0:
        raise CannotRunError("images are built as root (mmdebstrap, chroot)")
    for program, package in (("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs")):
        if shutil.which(program) is None:
            install(package)


def install(package: str) -> None:
    """A Debian package that the lab itself needs, if this machine may install it."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CannotRunError(f"{package} is missing and cannot be installed here (no root, no apt)")
    say(f"installing {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-qy", "--no-install-recommends", package]):
        done = subprocess.run(["apt-get", *arguments], stdout=sys.stderr, env=environment)
        if done.returncode:
            raise CannotRunError(f"apt-get {arguments[0]} failed: {package} is not to be had")


def mirrors(suite: str) -> str:
    """apt sources for `suite`, from the mirrors that this machine's own apt uses."""
    lines = run(
        "apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)", "Identifier: Packages"
    ).splitlines()
    sites: dict[bool, str] = {}
    for line in lines:
        codename, _, site = line.partition(" ")
        sites.setdefault(codename.endswith("-security"), site)
    if False not in sites:
        raise CannotRunError("this machine's apt has no mirror")
    sources = [f"deb {sites[False]} {name} main" for name in (suite, f"{suite}-updates")]
    if True in sites:
        sources.append(f"deb {sites[True]} {suite}-security main")
    return "\n".join(sources) + "\n"


def build(suite: str = "bookworm") -> Images:
    """The images, built if the cache has none of this recipe."""
    if suite not in XEN_VERSIONS:
        raise CannotRunError(f"no suite {suite}: one of {', '.join(XEN_VERSIONS)}")
    images = Images(suite, XEN_VERSIONS[suite], CACHE / f"{suite}-{recipe_hash()}")
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / "lock"):
        if images.directory.exists():
            return images
        require_builder()
        started = time.monotonic()
        work = CACHE / f"{suite}.building"
        remove_tree(work)
        work.mkdir()
        _make_root(suite, images.xen_version, work)
        _make_initrd(work)
        for old in CACHE.glob(f"{suite}-*"):
            remove_tree(old)
        work.rename(images.directory)
        say(f"{suite} built in {time.monotonic() - started:.0f} s")
    return images


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove_tree(path: Path) -> None:
    """Never past a mount point: a chroot may have left one."""
    if path.exists():
        run("rm", "-rf", "--one-file-system", path)


def _make_root(suite: str, xen: str, work: Path) -> None:
    root, unpacked = work / "root", work / "debs"
    say(f"mmdebstrap {suite}")
    # Kernel, hypervisor and busybox are unpacked only: installing them would run the hooks of a
    # boot loader and of an initramfs.
    download = f"""
        mkdir /debs; cd /debs
        kernel=$(apt-cache depends linux-image-amd64 |
            sed -n 's/.*Depends: \\(linux-image-[0-9].*\\)/\\1/p' | head -1)
        apt-get -q -o APT::Sandbox::User=root download \\
            xen-hypervisor-{xen}-amd64 busybox-static $kernel"""
    hook = work / "download.sh"
    hook.write_text(
        f"#!/bin/sh -e\ncat > $1/tmp/hook <<'END'\n{download}\nEND\n"
        'chroot "$1" sh -e /tmp/hook\nrm "$1/tmp/hook"\n'
    )
    hook.chmod(0o755)
    excluded = [
        f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale", "info")
    ]
    run(
        "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root",
        "--include=" + ",".join(PACKAGES.format(xen=xen).split()),
        '--aptopt=Apt::Install-Recommends "false"', *excluded,
        f"--customize-hook={hook} \"$1\"", suite, root, "-", input=mirrors(suite),
    )  # fmt: skip
    for deb in sorted((root / "debs").glob("*.deb")):
        run("dpkg-deb", "-x", deb, unpacked)
    remove_tree(root / "debs")

    busybox = next(
        path for path in (unpacked / "bin/busybox", unpacked / "usr/bin/busybox") if path.exists()
    )
    shutil.copy(busybox, work / "busybox")
    hypervisor = next((unpacked / "boot").glob(f"xen-{xen}*.gz"))
    (work / "xen").write_bytes(gzip.decompress(hypervisor.read_bytes()))
    kernel = next((unpacked / "boot").glob("vmlinuz-*"))
    (work / "vmlinux").write_bytes(extract_vmlinux(kernel.read_bytes()))
    modules = next(
        path for top in ("lib", "usr/lib") if (path := unpacked / top / "modules").is_dir()
    )
    version = next(modules.iterdir()).name
    (work / "kernel-version").write_text(version)
    run("cp", "-a", modules, root / "lib/")
    _prune_modules(root, version)
    remove_tree(unpacked)

    for directory in ("var/cache/apt", "var/lib/apt/lists"):
        remove_tree(root / directory)
        (root / directory).mkdir()
    (root / "etc/hostname").write_text("xenlab\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost xenlab\n")
    (root / "etc/mtab").unlink(missing_ok=True)
    (root / "etc/mtab").symlink_to("/proc/self/mounts")

    megabytes = int(run("du", "-sm", "--apparent-size", root).split()[0])
    say(f"ext4 image of {megabytes} MB")
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-L", "xenlab", "-d", root,
        work / "rootfs.img", f"{megabytes + megabytes // 5 + FREE_MB}M")  # fmt: skip


def _prune_modules(root: Path, version: str) -> None:
    """Removes the modules that neither MODULE_DIRS names nor a kept one depends on."""
    run("chroot", root, "depmod", version)
    base = root / "lib/modules" / version
    wanted = tuple(f"kernel/{name}/" for name in MODULE_DIRS.split())
    keep: set[str] = set()
    for line in (base / "modules.dep").read_text().splitlines():
        module, _, needs = line.partition(":")
        if module.startswith(wanted):
            keep.update((module, *needs.split()))
    for path in base.glob("kernel/**/*.ko*"):
        if str(path.relative_to(base)) not in keep:
            path.unlink()
    run("chroot", root, "depmod", version)


def _make_initrd(work: Path) -> None:
    root, tree = work / "root", work / "initrd"
    version = (work / "kernel-version").read_text()
    for name in ("bin", "dev", "proc", "sys", "run", "newroot", f"lib/modules/{version}"):
        (tree / name).mkdir(parents=True)
    shutil.copy(work / "busybox", tree / "bin/busybox")
    shutil.copy(HERE / "inside/initramfs-init", tree / "init")
    (tree / "init").chmod(0o755)
    names: list[str] = []
    for module in INITRD_MODULES.split():
        # A builtin prints "builtin NAME".
        shown = run("chroot", root, "modprobe", "-S", version, "--show-depends", module)
        for words in map(str.split, shown.splitlines()):
            if words[0] == "insmod" and (path := Path(words[1])).name not in names:
                names.append(path.name)
                _plain_copy(root / path.relative_to("/"), tree / "lib/modules" / version)
    plain = [name.removesuffix(".xz") for name in names]
    (tree / "modules.list").write_text("\n".join(plain) + "\n")
    with (work / "initrd.img").open("wb") as file:
        subprocess.run(
            f"find . | {work}/busybox cpio -o -H newc",
            shell=True, cwd=tree, stdout=file, stderr=subprocess.DEVNULL, check=True,
        )  # fmt: skip
    remove_tree(tree)


def _plain_copy(module: Path, directory: Path) -> None:
    """Busybox's insmod wants an uncompressed module; Debian 13 ships .ko.xz."""
    if module.suffix == ".xz":
        (directory / module.stem).write_bytes(lzma.decompress(module.read_bytes()))
    else:
        shutil.copy(module, directory)


def extract_vmlinux(image: bytes) -> bytes:
    """The ELF kernel inside an x86 bzImage (Documentation/arch/x86/boot.rst: payload_offset)."""
    if image[0x202:0x206] != b"HdrS":
        raise CannotRunError("the kernel is not a bzImage")
    setup_sectors = (image[0x1F1] or 4) + 1
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[setup_sectors * 512 + offset :][:length]
    if payload.startswith(b"\xfd7zXZ\0"):
        # The kernel appends the unpacked size, four octets, to the xz stream.
        elf = lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(payload)
    elif payload.startswith(b"\x1f\x8b"):
        elf = gzip.decompress(payload)
    elif payload.startswith(b"\x28\xb5\x2f\xfd"):
        elf = subprocess.run(["zstd", "-dcq"], input=payload, stdout=subprocess.PIPE).stdout
    else:
        raise CannotRunError("the kernel's compression is unknown")
    if not elf.startswith(b"\x7fELF"):
        raise CannotRunError("the kernel's payload is not ELF")
    return elf


def main() -> int:
    try:
        images = build(*sys.argv[1:2])
    except CannotRunError as error:
        print(f"xen-images: skipped: {error}", file=sys.stderr)
        return 3
    print(images.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
