"""The lab takes Debian's kernels in every form: which package, which file, which modules."""

from __future__ import annotations

import gzip
import importlib.util
import lzma
import shutil
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "xen" / "debian_kernel.py"
spec = importlib.util.spec_from_file_location("lab_debian_kernel", SOURCE)
assert spec is not None and spec.loader is not None
kernel = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = kernel
spec.loader.exec_module(kernel)

VERSIONS = [
    "6.1.9-1",
    "6.1.140-1",
    "6.12.9-1~bpo12+1",
    "6.12.9-1",
    "6.12.48+deb13-1",
    "7.3~rc1-1~exp1",
    "7.3-1",
    "7.3.4-1~bpo13+1",
    "7.3.4-1",
    "7.3.10-1~bpo13+1",
    "1:0.1-1",
]


def test_versions_sort_as_dpkg_sorts_them() -> None:
    assert sorted(reversed(VERSIONS), key=kernel.version_key) == VERSIONS
    for older, newer in pairwise(VERSIONS):
        done = subprocess.run(["dpkg", "--compare-versions", older, "lt", newer])
        assert done.returncode == 0, f"dpkg: {older} is not before {newer}"


def cache(packages: dict[str, str]) -> object:
    """apt-cache show, of NAME or NAME=VERSION; keys are NAME=VERSION, values its Depends."""

    def show(asked: str) -> str:
        return "\n".join(
            f"Package: {key.partition('=')[0]}\nVersion: {key.partition('=')[2]}\n"
            f"Depends: {depends}\nDescription: x\n"
            for key, depends in packages.items()
            if asked in (key, key.partition("=")[0])
        )

    return show


ONE_PACKAGE = {
    "linux-image-amd64=6.1.9-1": "linux-image-6.1.0-3-amd64 (= 6.1.9-1)",
    "linux-image-amd64=6.1.192-2": "linux-image-6.1.0-56-amd64 (= 6.1.192-2)",
    "linux-image-6.1.0-3-amd64=6.1.9-1": "kmod, linux-base (>= 4.3~)",
    "linux-image-6.1.0-56-amd64=6.1.192-2": "kmod, linux-base (>= 4.3~), "
    "initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool",
    "linux-base=4.12.1~deb12u1": "debconf (>= 0.5) | debconf-2.0",
}
SEVERAL_PACKAGES = {
    "linux-image-amd64=6.12.9-1": "linux-image-6.12.9-amd64 (= 6.12.9-1)",
    "linux-image-amd64=7.3.4-1~bpo13+1": "linux-image-7.3.4-amd64 (= 7.3.4-1~bpo13+1)",
    "linux-image-7.3.4-amd64=7.3.4-1~bpo13+1": "linux-binary-7.3.4-amd64 (= 7.3.4-1~bpo13+1), "
    "linux-modules-7.3.4-amd64 (= 7.3.4-1~bpo13+1)",
    "linux-binary-7.3.4-amd64=7.3.4-1~bpo13+1": "linux-base-7.3.4-amd64",
    "linux-modules-7.3.4-amd64=7.3.4-1~bpo13+1": "",
    "linux-base-7.3.4-amd64=7.3.4-1~bpo13+1": "kmod",
}


def test_the_newest_kernel_is_taken_with_all_that_it_is_made_of() -> None:
    assert sorted(kernel.kernel_packages(cache(ONE_PACKAGE))) == [
        "linux-base=4.12.1~deb12u1",
        "linux-image-6.1.0-56-amd64=6.1.192-2",
    ]
    assert sorted(kernel.kernel_packages(cache(SEVERAL_PACKAGES))) == [
        "linux-base-7.3.4-amd64=7.3.4-1~bpo13+1",
        "linux-binary-7.3.4-amd64=7.3.4-1~bpo13+1",
        "linux-image-7.3.4-amd64=7.3.4-1~bpo13+1",
        "linux-modules-7.3.4-amd64=7.3.4-1~bpo13+1",
    ]


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(kernel.CannotRunError, match="no package linux-image-amd64"):
        kernel.kernel_packages(cache({}))
    lacking = {key: value for key, value in SEVERAL_PACKAGES.items() if "base" not in key}
    with pytest.raises(kernel.CannotRunError, match=r"no package linux-base-7\.3\.4-amd64"):
        kernel.kernel_packages(cache(lacking))
    with pytest.raises(kernel.CannotRunError, match="depends on no kernel"):
        kernel.kernel_packages(cache({"linux-image-amd64=8.0-1": "vmlinuz-8.0-amd64"}))


@pytest.mark.parametrize(
    "place",
    ["boot/vmlinuz-7.3.4-amd64", "usr/lib/modules/7.3.4-amd64/vmlinuz",
     "lib/modules/7.3.4-amd64/vmlinuz"],
)  # fmt: skip
def test_the_image_is_found_in_either_layout(tmp_path: Path, place: str) -> None:
    image = tmp_path / place
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    assert kernel.kernel_image(tmp_path, "7.3.4-amd64") == image
    with pytest.raises(kernel.CannotRunError, match=r"image of Linux 7\.4-amd64.*boot/vmlinuz"):
        kernel.kernel_image(tmp_path, "7.4-amd64")


def test_modules_may_be_spread_over_two_trees_but_are_of_one_version(tmp_path: Path) -> None:
    with pytest.raises(kernel.CannotRunError, match="no lib/modules/VERSION"):
        kernel.module_directories(tmp_path)
    parts = [tmp_path / top / "modules/7.3.4-amd64" for top in ("lib", "usr/lib")]
    for part in parts:
        part.mkdir(parents=True)
    assert kernel.module_directories(tmp_path) == parts
    (tmp_path / "lib/modules/7.4-amd64").mkdir()
    with pytest.raises(kernel.CannotRunError, match=r"7\.3\.4-amd64, 7\.4-amd64"):
        kernel.module_directories(tmp_path)


BASE = "/lib/modules/V/kernel/"
MODULES = {
    "virtio_pci": f"insmod {BASE}virtio.ko \ninsmod {BASE}virtio_ring.ko \n"
    f"insmod {BASE}virtio_pci.ko \n",
    "virtio_blk": f"insmod {BASE}virtio.ko \ninsmod {BASE}virtio_ring.ko \n"
    f"insmod {BASE}virtio_blk.ko \n",
    "xen-blkfront": f"insmod {BASE}xen-blkfront.ko.xz \n",
    "ext4": f"insmod {BASE}mbcache.ko.zst \ninsmod {BASE}ext4.ko.zst \n",
    "crc32c_generic": f"insmod {BASE}crc32c_generic.ko \n",
}


def names(shown: dict[str, str]) -> list[str]:
    return [path.name for path in kernel.initrd_modules(shown.get)]


def test_the_initramfs_gets_each_module_once_in_the_order_of_their_needs() -> None:
    assert names(MODULES) == [
        "virtio.ko", "virtio_ring.ko", "virtio_pci.ko", "virtio_blk.ko", "xen-blkfront.ko.xz",
        "mbcache.ko.zst", "ext4.ko.zst", "crc32c_generic.ko",
    ]  # fmt: skip


def test_what_is_built_in_is_no_module_and_what_is_gone_is_told() -> None:
    today = {**MODULES, "virtio_pci": "builtin virtio_pci\n"}
    del today["crc32c_generic"]  # part of the kernel, under another name
    assert names(today) == [
        "virtio.ko", "virtio_ring.ko", "virtio_blk.ko", "xen-blkfront.ko.xz", "mbcache.ko.zst",
        "ext4.ko.zst",
    ]  # fmt: skip
    assert names(dict.fromkeys(MODULES, "builtin x\n")) == []
    del today["xen-blkfront"]
    with pytest.raises(kernel.CannotRunError, match="no module xen-blkfront"):
        names(today)


def zstd(data: bytes) -> bytes:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is missing")
    return subprocess.run(["zstd", "-cq"], input=data, stdout=subprocess.PIPE).stdout


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".xz", lzma.compress), (".gz", gzip.compress), (".zst", zstd)],
)
def test_modules_and_kernels_are_unpacked(tmp_path: Path, suffix: str, pack: object) -> None:
    assert callable(pack)
    elf = b"\x7fELF" + bytes(range(256))
    path = tmp_path / f"ext4.ko{suffix}"
    path.write_bytes(pack(elf))
    assert kernel.plain_module(path) == ("ext4.ko", elf)
    if suffix:
        payload = pack(elf)
        image = bytearray(1024 + len(payload))
        image[0x1F1], image[0x202:0x206] = 1, b"HdrS"
        struct.pack_into("<II", image, 0x248, 0, len(payload))
        image[1024:] = payload
        assert kernel.extract_vmlinux(bytes(image)) == elf


def test_an_unknown_packing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ext4.ko.new"
    path.write_bytes(b"NEWPACK!")
    with pytest.raises(kernel.CannotRunError, match=r"ext4\.ko\.new is packed in a way"):
        kernel.plain_module(path)
    with pytest.raises(kernel.CannotRunError, match="not a bzImage"):
        kernel.extract_vmlinux(bytes(2048))
