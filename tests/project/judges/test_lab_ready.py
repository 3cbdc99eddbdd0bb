"""The lab makes what the boots of several suites need at the same time, and says what it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LAB = Path(__file__).resolve().parents[2] / "xen"
# The runner, whose images are made only while the other suite's are; argv names who has no mirror.
RUNNER = """
import sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import lab, run
both = threading.Barrier(2, timeout=30)

class Images:
    kernel = xen_version = "0"

def build(suite):
    both.wait()
    if suite in sys.argv[2:]:
        raise run.CannotRunError("no mirror")
    return Images()

def boot(images, tar, scenarios, out, *, on_result, **rest):
    return lab.Boot(0, 1.0, ["PASS " + out.parent.name])

run.build, run.project.install = build, lambda images: Path("tar")
lab.boot, lab.require_machine = boot, lambda suites: None
print("status", run.main(["--boot", "life", "--also", "trixie:kernel"]))
"""


def lines(*without_mirror: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, LAB, *without_mirror],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_all_suites_are_made_ready_at_once() -> None:
    found = lines()
    assert found[-1] == "status 0"
    assert found[-2].startswith("2 passed, 0 failed in ")
    assert sum("ready after" in line for line in found) == 2


def test_another_suite_that_cannot_be_made_fails_its_boot() -> None:
    found = lines("trixie")
    assert found[-1] == "status 1"
    assert found[-2].startswith("1 passed, 1 failed in ")
    assert "FAIL boot kernel: not run, no trixie: no mirror" in found


def test_without_the_first_suite_nothing_is_run_and_the_reason_is_told() -> None:
    assert lines("bookworm")[-2:] == ["xen-test: skipped: no mirror", "status 0"]
