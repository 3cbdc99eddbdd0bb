"""How late an ordinary process wakes up beside a measurement: what a control plane may be late by,
on this machine, now, for no fault of its own. (tests/witness.py says the same of audio threads.)"""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType

_PROGRAM = """
import select, sys, time
worst = 0.0
while True:
    due = time.monotonic() + 0.005
    if select.select([0], [], [], 0.005)[0]:
        break
    worst = max(worst, time.monotonic() - due)
print(worst)
"""


class Busy:
    """with Busy() as busy: ...; then busy.late_sec is the worst."""

    late_sec: float

    def __enter__(self) -> Busy:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.late_sec = float(self._process.communicate("\n")[0])
