"""Roots of other Debian releases: what is copied into them, and that no mount goes with one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from aptroot import CannotRunError, mounts_below, remove_tree
from roots.root import PROJECT, copy_project, is_compiled


@pytest.mark.skipif(shutil.which("git") is None, reason="git is missing, as inside a root")
def test_the_project_is_copied_as_it_is_and_what_is_gone_goes(tmp_path: Path) -> None:
    inside = tmp_path / "project"
    inside.mkdir()
    copy_project(tmp_path)
    name = "bridge/xenpvaudio/cli.py"
    assert (inside / name).read_bytes() == (PROJECT / name).read_bytes()
    assert not (inside / ".venv").exists() and not (inside / ".cache").exists()

    listed = inside / ".copied"
    listed.write_text(listed.read_text() + "\nwas/here.py")
    (inside / "was").mkdir()
    (inside / "was/here.py").touch()
    (inside / name).write_text("changed inside")
    compiled = inside / "pw_module/xenpvaudio_native/_native.abi3.so"
    compiled.touch()
    copy_project(tmp_path)
    assert not (inside / "was/here.py").exists()
    assert (inside / name).read_bytes() == (PROJECT / name).read_bytes()
    assert compiled.exists()


def test_any_source_that_changed_is_compiled_again(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "pw_module", tmp_path / "pw_module")
    assert not is_compiled(tmp_path)
    stamp = tmp_path / ".compiled"
    stamp.touch()
    newest = max(path.stat().st_mtime for path in tmp_path.rglob("*"))
    os.utime(stamp, (newest + 10, newest + 10))
    assert is_compiled(tmp_path)
    for name in ("src/node/node.c", "src/abi/sndif.cdef", "build_native.py"):
        source = tmp_path / "pw_module" / name
        before = source.stat().st_mtime
        os.utime(source, (newest + 20, newest + 20))
        assert not is_compiled(tmp_path), name
        os.utime(source, (before, before))


def test_a_tree_with_something_mounted_in_it_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = tmp_path / "root/dev"
    monkeypatch.setattr("aptroot.mounts_below", lambda path: [str(mounted)])
    mounted.mkdir(parents=True)
    with pytest.raises(CannotRunError, match="still mounted"):
        remove_tree(tmp_path / "root")
    assert mounted.exists()


def test_mounts_are_found_deepest_first() -> None:
    found = mounts_below(Path("/dev"))
    assert found and found == sorted(found, key=len, reverse=True)
