"""tests/interop/conftest.py: only what a stall of the machine may have failed is run again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
CONFTEST = Path(__file__).parents[2] / "interop/conftest.py"
# Saw a stall of so many milliseconds in each run that it was beside.
WITNESS = """
from types import SimpleNamespace
class Witness:
    def __enter__(self):
        self.saw = SimpleNamespace(worst_nsec={stall_msec} * 1_000_000)
        return self
    def __exit__(self, *error): ...
"""
# Fails so often, then passes; counts its runs and its fixtures'.
TEST = """
from pathlib import Path
import pytest
RUNS = Path(__file__).with_name("runs")
@pytest.fixture
def made():
    with RUNS.with_name("made").open("a") as file:
        file.write("x")
def test_it(made, tmp_path):
    (tmp_path / "new").mkdir()
    with RUNS.open("a") as file:
        file.write("x")
    assert RUNS.stat().st_size > {failures}, "{message}"
"""


def pytest_run(
    folder: Path, failures: int, stall_msec: int, message: str = "lost", *options: str
) -> tuple[int, int, str]:
    """(pytest's status, the test's runs, what pytest printed)"""
    shutil.copy(CONFTEST, folder)
    (folder / "witness.py").write_text(WITNESS.format(stall_msec=stall_msec))
    (folder / "test_it.py").write_text(TEST.format(failures=failures, message=message))
    done = subprocess.run(
        [*PYTEST, "--rootdir", str(folder), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(folder), "PATH": ""},
        check=False,
    )
    runs = (folder / "runs").stat().st_size
    assert (folder / "made").stat().st_size == runs
    return done.returncode, runs, done.stdout


@pytest.mark.parametrize("options", [(), ("--numprocesses=1",)], ids=["alone", "xdist"])
def test_a_failure_beside_a_stall_is_run_again_and_told(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    status, runs, output = pytest_run(tmp_path, 2, 13, "lost", *options)
    assert (status, runs) == (0, 3), output
    assert output.count("test_it.py::test_it: the machine stood still for 13 ms") == 2, output
    assert "1 passed" in output


def test_a_failure_on_a_calm_machine_is_final(tmp_path: Path) -> None:
    status, runs, output = pytest_run(tmp_path, 1, 1)
    assert (status, runs) == (1, 1), output
    assert "1 failed" in output


def test_the_last_run_s_result_is_the_test_s(tmp_path: Path) -> None:
    status, runs, output = pytest_run(tmp_path, 3, 13)
    assert (status, runs) == (1, 3), output


@pytest.mark.parametrize("word", ["duplicated", "reordered", "corrupted"])
def test_no_stall_explains_frames_twice_moved_or_changed(tmp_path: Path, word: str) -> None:
    found = {"duplicated": 0, "reordered": 0, "corrupted": 0} | {word: 1}
    told = ", ".join(f"{name}={count}" for name, count in found.items())
    status, runs, output = pytest_run(tmp_path, 1, 13, f"Comparison(lost=0, {told})")
    assert (status, runs) == (1, 1), output


def test_what_passes_runs_once(tmp_path: Path) -> None:
    status, runs, output = pytest_run(tmp_path, 0, 13)
    assert (status, runs) == (0, 1), output
    assert "run again" not in output
