"""The lab boots once more after a wait that ran out, and after nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[2] / "xen"
# The runner, with boots that only say what they are told to: one line of results each.
RUNNER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import lab, run
said = [line.split("; ") for line in sys.argv[2].splitlines()]

def boot(images, tar, scenarios, out, *, on_result, **rest):
    results = said.pop(0)
    for line in results:
        on_result(line)
    counted = [line for line in results if not line.startswith("WHY ")]
    failed = any(line.startswith("FAIL ") for line in counted)
    return lab.Boot(1 if failed else 0, 100.0, counted)

class Images:
    suite = "bookworm"

lab.boot, lab.require_machine = boot, lambda suites: None
run.Set.ready = lambda self: (Images(), Path("tar"))
status = run.main(["--boot", "life", *sys.argv[3:]])
print("left", len(said), "status", status)
"""
PASSED = "PASS life.a 3 s (3.0 s)"
WAITED = "FAIL life.b sound: not within 120 s"
SCRIPT = "FAIL life.b a script in the guest did not end within 300 s"
WHY = "WHY life.b the last line of a log"
LOST = "FAIL life.b 512 frames lost at 1024"


def lab(*boots: str, options: tuple[str, ...] = ()) -> list[str]:
    """The runner's lines; the last says how many of `boots` were not made, and its status."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, LAB, "\n".join(boots), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("wait", [WAITED, SCRIPT])
def test_a_wait_that_ran_out_is_told_and_the_second_boot_counts(wait: str) -> None:
    lines = lab(f"{PASSED}; {wait}; {WHY}", f"{PASSED}; PASS life.b 1 s (1.0 s)")
    assert lines[-1] == "left 0 status 0"
    assert lines[-2].startswith("2 passed, 0 failed in ")
    assert f"run again: bookworm life: {wait}" in lines
    assert any(line.startswith(WHY) for line in lines)


def test_there_is_no_third_boot() -> None:
    lines = lab(WAITED, f"{PASSED}; {WAITED}", PASSED)
    assert lines[-1] == "left 1 status 1"
    assert lines[-2].startswith("1 passed, 1 failed in ")


@pytest.mark.parametrize("wrong", [LOST, "FAIL life.c a traceback in the backend's log"])
def test_what_was_heard_wrong_is_final_also_beside_a_wait(wrong: str) -> None:
    for failures in (wrong, f"{wrong}; {WAITED}", f"{WAITED}; {wrong}"):
        assert lab(failures, PASSED)[-1] == "left 1 status 1", failures


def test_what_follows_from_a_wait_does_not_make_it_final() -> None:
    """As it was seen: the guest that was waited for is not destroyed, its channels stay open."""
    assert lab(f"{WAITED}; FAIL life.c 4 event channels are still open", PASSED)[-1] == (
        "left 0 status 0"
    )


def test_without_time_there_is_no_other_boot() -> None:
    """The boot says that it took 100 s; that much of the budget must be left for another."""
    lines = lab(WAITED, PASSED, options=("--budget-min", "1.5"))
    assert lines[-1] == "left 1 status 1"
    lines = lab(WAITED, PASSED, options=("--budget-min", "2.5"))
    assert lines[-1] == "left 0 status 0"
