"""Roots of other Debian releases: what is copied into them, and that no mount goes with one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from roots.root import PROJECT, CannotRunError, copy_project, mounts_below, remove_tree


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


def test_a_tree_with_something_mounted_in_it_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = tmp_path / "root/dev"
    monkeypatch.setattr("roots.root.mounts_below", lambda path: [str(mounted)])
    mounted.mkdir(parents=True)
    with pytest.raises(CannotRunError, match="still mounted"):
        remove_tree(tmp_path / "root")
    assert mounted.exists()


def test_mounts_are_found_deepest_first() -> None:
    found = mounts_below(Path("/dev"))
    assert found and found == sorted(found, key=len, reverse=True)
