"""The project as a user installs it: a wheel, its dependencies' wheels, and pip in Debian.

pip runs by chroot in the very root file system that the lab boots, into a venv at
/opt/xen-pv-audio; the venv travels to dom0 and the guests as a tar on the job disk, so a change of
the sources costs no new images. Kept in `.cache/xen/` under a hash of the sources.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from images import CACHE, PROJECT, Images, locked, remove_tree, run, say

SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "README.md", "bridge",
           "pw_module")  # fmt: skip
VENV = "opt/xen-pv-audio"
DEPENDENCIES = ("cffi>=1.15", "pyxs>=0.4.1")
_LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "*.egg-info", "*.so", "*.o", "_native.c", "build", "dist"
)


def source_tree(target: Path) -> str:
    """Copies the sources to `target` (a build must not meet another one's leftovers); their
    hash."""
    for name in SOURCES:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=_LEFT_OUT)
        elif source.exists():
            shutil.copy(source, target / name)
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(target.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(target)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def install(images: Images) -> Path:
    """A tar of the installed project, for unpacking at / of the images."""
    lock = CACHE / f"{images.suite}.lock"
    with tempfile.TemporaryDirectory(prefix="xen-pv-audio-") as name, locked(lock):
        work = Path(name)
        tree = work / "tree"
        tree.mkdir()
        result = CACHE / f"{images.suite}.project-{source_tree(tree)}.tar"
        base = images.directory.name.encode()
        stamp = result.with_suffix(".base")
        if result.exists() and stamp.exists() and stamp.read_bytes() == base:
            return result
        for old in CACHE.glob(f"{images.suite}.project-*"):
            old.unlink()
        say("building the project's wheel")
        wheels = work / "wheels"
        # The tools of .venv build it, as they build the editable install there.
        pip("wheel", "--no-build-isolation", "--no-deps", "-w", wheels, tree)
        version = run("chroot", images.root, "python3", "-c",
                      "import sys; print('%d.%d' % sys.version_info[:2])").strip()  # fmt: skip
        with locked(CACHE / "wheels.lock"):
            for path in dependencies(version):
                shutil.copy(path, wheels)
        _install(images.root, wheels, result)
        stamp.write_bytes(base)
    return result


def dependencies(python_version: str) -> list[Path]:
    """Wheels of what the project needs at run time, for that Python; downloaded once."""
    directory = CACHE / f"wheels-{python_version}"
    if not directory.exists():
        say(f"downloading wheels for Python {python_version}")
        partial = directory.with_suffix(".partial")
        remove_tree(partial)
        platforms = [f"--platform=manylinux{tag}_x86_64" for tag in ("2014", "_2_17", "_2_28")]
        pip("download", "-d", partial, "--only-binary=:all:",
            "--python-version", python_version, *platforms, *DEPENDENCIES)  # fmt: skip
        partial.rename(directory)
    return sorted(directory.glob("*.whl"))


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    # pip's own words to stderr, where the lab talks.
    done = subprocess.run([str(word) for word in command], stdout=sys.stderr)
    done.check_returncode()


def _install(root: Path, wheels: Path, result: Path) -> None:
    say("installing it into the images' Python")
    inside = root / "opt/wheels"
    for path in (root / VENV, inside):
        remove_tree(path)
    shutil.copytree(wheels, inside)
    run("chroot", root, "python3", "-m", "venv", f"/{VENV}")
    run("chroot", root, f"/{VENV}/bin/pip", "--disable-pip-version-check", "install", "-q",
        "--no-index", "--find-links", "/opt/wheels", "xen-pv-audio")  # fmt: skip
    partial = result.with_suffix(".partial")
    # What nobody runs in the lab stays out: it would be unpacked under emulation.
    run("tar", "-cf", partial, "-C", root, "--exclude=*/site-packages/pip*",
        "--exclude=*/site-packages/setuptools*", "--exclude=*/pkg_resources*", VENV)  # fmt: skip
    partial.rename(result)
    for path in (root / VENV, inside):
        remove_tree(path)
