"""`.ci/run` reports both suites, and fails if either does; here with a `make` that only says so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTEST = "===== 7 passed, 1 skipped in 3.21s ====="
XEN = "5 passed, 0 failed in 100 s"
SKIPPED = "xen-test: skipped: images are built as root (mmdebstrap, chroot)"

MAKE = """#!/bin/sh
case $1 in
setup-test) exit 0 ;;
xen-images) echo "images $2"; exit "$IMAGES_STATUS" ;;
test) echo "$TEST_SAYS"; exit "$TEST_STATUS" ;;
bench) echo "$2" >> "$BENCHED"; exit "$BENCH_STATUS" ;;
xen-test) echo "$2" >> "$ASKED"; echo "$XEN_SAYS"; exit "$XEN_STATUS" ;;
esac
exit 99
"""


def ci(
    tmp_path: Path,
    test: tuple[str, int],
    xen: tuple[str, int],
    bench_status: int = 0,
    images_status: int = 0,
) -> tuple[int, list[str], str]:
    """Exit status, output lines, and what `make xen-test` was asked."""
    make = tmp_path / "make"
    make.write_text(MAKE)
    make.chmod(0o755)
    asked = tmp_path / "asked"
    asked.write_text("")
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TEST_SAYS": test[0],
        "TEST_STATUS": str(test[1]),
        "XEN_SAYS": xen[0],
        "XEN_STATUS": str(xen[1]),
        "ASKED": str(asked),
        "IMAGES_STATUS": str(images_status),
        "BENCHED": str(tmp_path / "benched"),
        "BENCH_STATUS": str(bench_status),
    }
    done = subprocess.run(
        [ROOT / ".ci/run"], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines(), asked.read_text()


def test_both_pass_and_pytests_closing_line_is_the_last(tmp_path: Path) -> None:
    status, lines, asked = ci(tmp_path, (PYTEST, 0), (XEN, 0))
    assert status == 0
    assert lines[-2:] == [f"ci: real Xen: {XEN}", f"ci: {PYTEST}"]
    assert "--budget-min" in asked


def test_the_lab_boots_all_on_the_oldest_kernel_and_its_frontend_on_the_newest(
    tmp_path: Path,
) -> None:
    """What CI asks for, by the runner's own list: nothing is booted for it."""
    _, _, asked = ci(tmp_path, (PYTEST, 0), (XEN, 0))
    options = asked.strip().removeprefix("XEN_ARGS=").split()
    runner = [sys.executable, ROOT / "tests/xen/run.py", "--list"]
    shown = subprocess.run([*runner, *options], capture_output=True, text=True, check=True)
    boots = [line.split()[:2] for line in shown.stdout.splitlines()]
    alone = subprocess.run(runner, capture_output=True, text=True, check=True)
    every = [line.split()[:2] for line in alone.stdout.splitlines()]
    assert {suite for suite, _ in every} == {"bookworm"} and len(every) > 10
    every.remove(["bookworm", "systemd"])  # takes more time than CI has
    assert boots == [*every, ["trixie-backports", "kernel"]]


def test_images_of_all_suites_that_are_booted_are_made_beside_the_tests(tmp_path: Path) -> None:
    """That fails where nobody may make any, and the lab says why."""
    status, lines, asked = ci(tmp_path, (PYTEST, 0), (XEN, 0), images_status=3)
    assert status == 0
    made = {line for line in lines if line.startswith("images ")}
    booted = {"bookworm", *re.findall(r"--also ([\w-]+):", asked)}
    assert made == {f"images SUITE={suite}" for suite in booted}


def test_each_of_pytests_runs_has_its_closing_line(tmp_path: Path) -> None:
    units = "===== 70 passed in 1.21s ====="
    _, lines, _ = ci(tmp_path, (f"{units}\n{PYTEST}", 0), (XEN, 0))
    assert lines[-3:] == [f"ci: real Xen: {XEN}", f"ci: {units}", f"ci: {PYTEST}"]


@pytest.mark.parametrize("statuses", [(2, 0), (0, 2), (2, 2)])
def test_either_failure_fails(tmp_path: Path, statuses: tuple[int, int]) -> None:
    status, lines, asked = ci(tmp_path, (PYTEST, statuses[0]), (XEN, statuses[1]))
    assert status != 0
    assert lines[-1] == f"ci: {PYTEST}"
    assert asked  # the hypervisor is tried also when a unit test failed


def test_the_benchmark_is_quick_and_fails_where_it_cannot_run(tmp_path: Path) -> None:
    status, lines, _ = ci(tmp_path, (PYTEST, 0), (XEN, 0), bench_status=2)
    assert status == 2
    assert (tmp_path / "benched").read_text() == "BENCH_ARGS=--quick\n"
    assert lines[-3:] == [
        "ci: make bench ended with status 2",
        f"ci: real Xen: {XEN}",
        f"ci: {PYTEST}",
    ]


def test_a_machine_that_cannot_run_xen_says_why_and_passes(tmp_path: Path) -> None:
    status, lines, _ = ci(tmp_path, (PYTEST, 0), (SKIPPED, 0))
    assert status == 0
    assert lines[-2] == f"ci: real Xen: {SKIPPED}"


def test_a_suite_that_ends_early_is_told(tmp_path: Path) -> None:
    status, lines, _ = ci(tmp_path, ("cc: not found", 2), ("Killed", 137))
    assert status == 2
    assert "no closing line" in lines[-2] and "set-up failed" in lines[-1]


# As pytest and the lab print them, in colours and with more before and after.
RED, PLAIN = "\x1b[31m", "\x1b[0m"
FAILURE = "it/test_it.py::test_a_fact - assert 1 == 2"
AGAIN = "it/test_that.py::test_it: the machine stood still for 13 ms: assert 3 == 4"
PYTEST_FAILED = f"""it/test_it.py F.
================ FAILURES ================
E   FAILED to hear what was played
================ run again ================
{AGAIN}
======== short test summary info ========
{RED}FAILED{PLAIN} it/test_it.py::{RED}test_a_fact{PLAIN} - assert 1 == 2
ERROR it/test_that.py - SyntaxError
{RED}===== 1 failed, 7 passed, 1 error in 3.21s ====={PLAIN}"""
LAB_FAILED = "FAIL life.guest_is_killed no sound [bookworm life 40 s]"
LAB_WHY = "WHY life.guest_is_killed the last line of a log"
LAB_AGAIN = f"run again: bookworm life: {LAB_FAILED}"


def test_what_failed_and_what_was_run_again_is_told_just_before_the_closing_lines(
    tmp_path: Path,
) -> None:
    shown = ["PASS life.card_is_there", LAB_FAILED, LAB_WHY, "boot life: 50 s", LAB_AGAIN]
    lab = "\n".join([*shown, "1 passed, 1 failed in 50 s"])
    _, lines, _ = ci(tmp_path, (PYTEST_FAILED, 2), (lab, 2))
    assert lines[-8:] == [
        f"ci: FAILED {FAILURE}",
        "ci: ERROR it/test_that.py - SyntaxError",
        f"ci: {LAB_FAILED}",
        f"ci: {LAB_WHY}",
        f"ci: {LAB_AGAIN}",
        f"ci: run again: {AGAIN}",
        "ci: real Xen: 1 passed, 1 failed in 50 s",
        "ci: ===== 1 failed, 7 passed, 1 error in 3.21s =====",
    ]


def test_what_is_told_again_is_short(tmp_path: Path) -> None:
    """A reader sees the last 40 lines of it."""
    failed = "\n".join(f"FAILED test_{number} - " + "ä" * 400 for number in range(30))
    _, lines, _ = ci(tmp_path, (f"{failed}\n{PYTEST}", 2), (XEN, 0))
    told = [line for line in lines if line.startswith("ci: FAILED")]
    assert [line.split()[2] for line in told] == [f"test_{number}" for number in range(25)]
    assert {len(line) for line in told} == {len("ci: ") + 300}
    assert lines[-3] == "ci: ... and 5 more"


def test_what_passes_tells_nothing_again(tmp_path: Path) -> None:
    _, lines, _ = ci(tmp_path, (PYTEST, 0), (XEN, 0))
    assert [line for line in lines if line.startswith("ci: ")] == lines[-2:]
