"""Shared object files: the same one for what is the same, another for whatever may differ."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import objects
from objects import compiled

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

COMMAND = ["cc", "-Wall", "-Werror"]


def source(place: Path, value: int) -> Path:
    """A source, which includes a header that has the value."""
    place.mkdir(exist_ok=True)
    (place / "value.h").write_text(f"enum {{ VALUE = {value} }};\n")
    (place / "source.c").write_text('#include "value.h"\nint value(void) { return VALUE; }\n')
    return place / "source.c"


def test_what_is_the_same_is_compiled_once(tmp_path: Path) -> None:
    file, folder = source(tmp_path / "src", 1), tmp_path / "objects"
    first = compiled(file, COMMAND, folder=folder)
    made = first.stat().st_ino
    assert compiled(file, COMMAND, [tmp_path], folder) == first
    assert first.stat().st_ino == made
    assert list(folder.iterdir()) == [first]


def test_a_header_or_a_flag_that_is_another_makes_another_object(tmp_path: Path) -> None:
    file, folder = source(tmp_path / "src", 1), tmp_path / "objects"
    first = compiled(file, COMMAND, folder=folder)
    flagged = compiled(file, [*COMMAND, "-O1"], folder=folder)
    source(tmp_path / "src", 2)
    changed = compiled(file, COMMAND, folder=folder)
    assert len({first, flagged, changed}) == 3


def test_a_header_that_is_found_first_counts(tmp_path: Path) -> None:
    """As a twin's: it lies in a folder that is looked into before the true one's."""
    true, twin, folder = tmp_path / "true", tmp_path / "twin", tmp_path / "objects"
    source(true, 1), source(twin, 2)
    file = tmp_path / "source.c"
    (true / "source.c").rename(file)
    assert compiled(file, COMMAND, [true], folder) != compiled(file, COMMAND, [twin, true], folder)


def test_what_does_not_compile_fails_each_time(tmp_path: Path) -> None:
    file, folder = tmp_path / "source.c", tmp_path / "objects"
    file.write_text("int unused(void) { int value; return 0; }\n")
    for _ in range(2):
        with pytest.raises(AssertionError, match="unused variable"):
            compiled(file, COMMAND, folder=folder)
    assert list(folder.iterdir()) == []


def test_what_nobody_used_for_a_day_is_removed(tmp_path: Path) -> None:
    """By the next process that compiles something."""
    file, folder = source(tmp_path / "src", 1), tmp_path / "objects"
    first, second = (compiled(file, [*COMMAND, level], folder=folder) for level in ("-O1", "-O2"))
    old = time.time() - objects.KEPT_SEC - 60
    for path in (first, second):
        os.utime(path, (old, old))
    compiled(file, [*COMMAND, "-O2"], folder=folder)  # is used again
    code = "import sys; from pathlib import Path; from objects import compiled;"
    code += "compiled(Path(sys.argv[1]), sys.argv[3:], folder=Path(sys.argv[2]))"
    env = {**os.environ, "PYTHONPATH": str(Path(objects.__file__).parent)}
    command = [sys.executable, "-c", code, str(file), str(folder), *COMMAND]
    subprocess.run(command, env=env, check=True)
    assert not first.exists()
    assert second.exists()
    assert len(list(folder.iterdir())) == 2
