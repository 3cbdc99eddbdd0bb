"""The project's Debian packages for the lab, as a user makes them, and those of a version before.

Built in a root of the images' release (tests/roots), and kept under a hash of the sources in
`.cache/xen/<suite>.debs-<hash>/`, in two folders: old, new.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from images import CACHE, PROJECT, SUITES, CannotRunError, Images, locked, remove_tree, say

import project
from roots.install import WrongError, builder, built, older

OLD, NEW = "old", "new"


def sources_hash() -> str:
    """Of what the packages are made of."""
    digest = hashlib.sha256()
    for name in (*project.SOURCES, "packaging"):
        path = PROJECT / name
        for file in sorted(path.rglob("*") if path.is_dir() else [path]):
            made = file.suffix in (".so", ".o", ".pyc") or file.name == "_native.c"
            if file.is_file() and not made:
                digest.update(f"{file.relative_to(PROJECT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def packages(images: Images) -> Path:
    """The folder with both; CannotRunError if they cannot be built."""
    result = CACHE / f"{images.suite}.debs-{sources_hash()}"
    with locked(CACHE / "debs.lock"):
        if result.exists():
            return result
        release = SUITES[images.suite].release
        say(f"building the Debian packages for {release}")
        try:
            debs = built(builder(release))
        except WrongError as error:
            raise CannotRunError(str(error)) from None
        for old in CACHE.glob(f"{images.suite}.debs-*"):
            remove_tree(old)
        partial = result.with_suffix(".partial")
        remove_tree(partial)
        for folder, make in ((NEW, shutil.copy), (OLD, older)):
            (partial / folder).mkdir(parents=True)
            for deb in debs:
                make(deb, partial / folder)
        for tree in (path for path in (partial / OLD).iterdir() if path.is_dir()):
            remove_tree(tree)  # what older() has unpacked
        partial.rename(result)
    return result
