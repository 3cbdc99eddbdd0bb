"""xen-pv-audio as a user of one of a test bed's domains gives it."""

from __future__ import annotations

import subprocess
import sys

from xenpvaudio.testbed.testbed import Testbed


def command(bed: Testbed, domid: int, *words: str, status: int = 0) -> str:
    """What it prints when it ends with that status: its errors, if it prints nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", *words],
        env=bed.environ(domid),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout or done.stderr
