"""What the lab boots, from Debian packages alone: hypervisor, kernel, initramfs, root file system.

One read-only set for dom0 and every guest, under `.cache/xen/<suite>.images-<hash of recipe>/`:

    xen           the hypervisor, unpacked ELF (QEMU loads it as multiboot)
    vmlinux       Debian's kernel, taken out of its bzImage (spares the unpacking under emulation)
    kernel        its version, for people
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
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from debian_kernel import (
    extract_vmlinux,
    first,
    initrd_modules,
    kernel_image,
    kernel_packages,
    module_directories,
    no_package,
    plain_module,
)

from aptroot import CannotRunError, apt_alone, apt_sources, remove_tree, run

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
APTROOT = HERE.parent / "aptroot.py"
CACHE = PROJECT / ".cache" / "xen"

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True, slots=True)
class Suite:
    """`kernel_from`: a suite of Debian that only the kernel is taken from, the newest it has."""

    release: str
    xen_version: str
    kernel_from: str = ""


SUITES = {
    "bookworm": Suite("bookworm", "4.17"),
    "trixie": Suite("trixie", "4.20"),
    "trixie-backports": Suite("trixie", "4.20", "trixie-backports"),
}

PACKAGES = """
    bash coreutils util-linux mount passwd procps kmod iproute2 udev systemd ca-certificates
    xen-utils-{xen} xen-utils-common xenstore-utils
    python3 python3-venv
    libpipewire-0.3-0 libspa-0.2-modules alsa-utils dbus pipewire pipewire-bin pipewire-pulse
    pipewire-alsa wireplumber pulseaudio-utils
    libpam-systemd dbus-user-session python3-cffi-backend python3-pyxs
"""

# Folders below kernel/ that stay in the image; the other 250 MB of modules are of no use here.
MODULE_DIRS = (
    "arch crypto lib fs/ext4 fs/jbd2 fs/fuse fs/nls drivers/xen drivers/block drivers/virtio "
    "drivers/char sound"
)
FREE_MB = 300


@dataclass(frozen=True, slots=True)
class Images:
    """The finished set; `directory` holds the files named above."""

    suite: str
    directory: Path

    @property
    def xen_version(self) -> str:
        return SUITES[self.suite].xen_version

    @property
    def kernel(self) -> str:
        return self.path("kernel").read_text()

    def path(self, name: str) -> Path:
        return self.directory / name

    @property
    def root(self) -> Path:
        return self.directory / "root"


def recipe_hash() -> str:
    """Changes with anything that the images are made of, the mirror's state excepted."""
    files = (Path(__file__), APTROOT, HERE / "debian_kernel.py", HERE / "initramfs-init")
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:12]


def say(text: str) -> None:
    print(f"xen-images: {text}", file=sys.stderr, flush=True)


def require_builder() -> None:
    if os.geteuid() != 0:
        raise CannotRunError("images are built as root (mmdebstrap, chroot)")
    for program, package in (
        ("mmdebstrap", "mmdebstrap"),
        ("mke2fs", "e2fsprogs"),
        ("zstd", "zstd"),
    ):
        if shutil.which(program) is None:
            install(package)


def install(package: str) -> None:
    """A Debian package that the lab itself needs, if this machine may install it."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CannotRunError(f"{package} is missing and cannot be installed here (no root, no apt)")
    say(f"installing {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300"]  # for another apt that is at work
    add = ["install", "-qy", "--no-install-recommends", *wait, package]
    for arguments in (["update", "-q"], add):
        with apt_alone():
            done = subprocess.run(["apt-get", *arguments], stdout=sys.stderr, env=environment)
        if done.returncode:
            raise CannotRunError(f"apt-get {arguments[0]} failed: {package} is not to be had")


def mirrors(suite: Suite) -> str:
    names = [suite.release, f"{suite.release}-updates"]
    if suite.kernel_from:
        names.append(suite.kernel_from)
    return apt_sources(names, f"{suite.release}-security")


def build(name: str = "bookworm") -> Images:
    """The images, built if the cache has none of this recipe."""
    if name not in SUITES:
        raise CannotRunError(f"no suite {name}: one of {', '.join(SUITES)}")
    images = Images(name, CACHE / f"{name}.images-{recipe_hash()}")
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / f"{name}.lock"):
        if images.directory.exists():
            return images
        require_builder()
        started = time.monotonic()
        work = CACHE / f"{name}.building"
        remove_tree(work)
        work.mkdir()
        unpacked = _unpack(SUITES[name], work)
        _make_root(SUITES[name], work)
        _take_boot_files(SUITES[name], unpacked, work)
        _make_image(work)
        _make_initrd(work)
        for old in CACHE.glob(f"{name}.images-*"):
            remove_tree(old)
        work.rename(images.directory)
        took = time.monotonic() - started
        say(f"{name}, Linux {images.kernel}, built in {took:.0f} s")
    return images


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Apt:
    """apt with lists of its own, for what is unpacked only: installing a kernel or a hypervisor
    would run the hooks of a boot loader and of an initramfs."""

    def __init__(self, suite: Suite, directory: Path) -> None:
        if not KEYRING.exists():
            install("debian-archive-keyring")
        for name in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "state/lists/partial", "cache"):
            (directory / name).mkdir(parents=True)
        (directory / "status").write_text("")
        (directory / "etc/apt/sources.list").write_text(
            mirrors(suite).replace("deb ", f"deb [signed-by={KEYRING}] ")
        )
        settings = {
            "Dir::Etc": directory / "etc/apt",
            "Dir::State": directory / "state",
            "Dir::State::status": directory / "status",
            "Dir::Cache": directory / "cache",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        self._options = [word for key in settings for word in ("-o", f"{key}={settings[key]}")]
        run("apt-get", *self._options, "-qq", "update")

    def show(self, package: str) -> str:
        """Nothing if there is no such package."""
        command = ["apt-cache", *self._options, "show", package]
        return subprocess.run(command, capture_output=True, text=True).stdout

    def unpack(self, packages: list[str], target: Path) -> None:
        for package in packages:
            if not self.show(package):
                raise no_package(package)
        debs = target.with_suffix(".debs")
        debs.mkdir()
        say(f"unpacking {' '.join(packages)}")
        run("apt-get", *self._options, "-qq", "download", *packages, cwd=debs)
        for deb in sorted(debs.glob("*.deb")):
            run("dpkg-deb", "-x", deb, target)
        remove_tree(debs)


def _unpack(suite: Suite, work: Path) -> Path:
    """A tree of the kernel's, the hypervisor's and busybox' files."""
    apt = Apt(suite, work / "apt")
    others = [f"xen-hypervisor-{suite.xen_version}-amd64", "busybox-static"]
    apt.unpack([*kernel_packages(apt.show), *others], work / "unpacked")
    remove_tree(work / "apt")
    return work / "unpacked"


def _make_root(suite: Suite, work: Path) -> None:
    root = work / "root"
    say(f"mmdebstrap {suite.release}")
    excluded = [
        f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale", "info")
    ]
    run(
        "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root",
        "--include=" + ",".join(PACKAGES.format(xen=suite.xen_version).split()),
        '--aptopt=Apt::Install-Recommends "false"', *excluded,
        suite.release, root, "-", input=mirrors(replace(suite, kernel_from="")),
    )  # fmt: skip
    for directory in ("var/cache/apt", "var/lib/apt/lists"):
        remove_tree(root / directory)
        (root / directory).mkdir()
    (root / "etc/hostname").write_text("xenlab\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost xenlab\n")
    (root / "etc/mtab").unlink(missing_ok=True)
    (root / "etc/mtab").symlink_to("/proc/self/mounts")


def _take_boot_files(suite: Suite, unpacked: Path, work: Path) -> None:
    busybox = first((unpacked / "bin/busybox", unpacked / "usr/bin/busybox"), "busybox")
    shutil.copy(busybox, work / "busybox")
    names = f"xen-{suite.xen_version}*.gz"
    hypervisor = first(sorted((unpacked / "boot").glob(names)), f"boot/{names}")
    (work / "xen").write_bytes(gzip.decompress(hypervisor.read_bytes()))
    parts = module_directories(unpacked)
    version = parts[0].name
    (work / "kernel").write_text(version)
    image = kernel_image(unpacked, version)
    (work / "vmlinux").write_bytes(extract_vmlinux(image.read_bytes()))
    for part in parts:
        (work / "root/lib/modules").mkdir(exist_ok=True)
        run("cp", "-a", part, work / "root/lib/modules/")
    (work / "root/lib/modules" / version / "vmlinuz").unlink(missing_ok=True)
    _prune_modules(work / "root", version)
    remove_tree(unpacked)


def _make_image(work: Path) -> None:
    root = work / "root"
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
    version = (work / "kernel").read_text()
    directory = tree / "lib/modules" / version
    for name in ("bin", "dev", "proc", "sys", "run", "newroot"):
        (tree / name).mkdir(parents=True)
    directory.mkdir(parents=True)
    shutil.copy(work / "busybox", tree / "bin/busybox")
    shutil.copy(HERE / "initramfs-init", tree / "init")
    (tree / "init").chmod(0o755)

    def show_depends(module: str) -> str | None:
        command = ["chroot", str(root), "modprobe", "-S", version, "--show-depends", module]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.stdout if done.returncode == 0 else None

    lines = []
    for path in initrd_modules(show_depends):
        name, data = plain_module(root / path.relative_to("/"))
        (directory / name).write_bytes(data)
        lines.append(f"{name}\n")
    (tree / "modules.list").write_text("".join(lines))
    with (work / "initrd.img").open("wb") as file:
        subprocess.run(
            f"find . | {work}/busybox cpio -o -H newc",
            shell=True, cwd=tree, stdout=file, stderr=subprocess.DEVNULL, check=True,
        )  # fmt: skip
    remove_tree(tree)


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
