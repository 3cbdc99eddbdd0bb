"""A backend whose event loop stands still, beside a frontend whose does not; both watched.

    python -m interop.units.watchdog SECONDS      the units' WatchdogSec, shortened

Run by place.py; prints one JSON object: what became of each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from interop.units.session import Manager, UnitBed, shown

LIMIT_SEC = 120  # a busy machine's


def main() -> int:
    (seconds,) = sys.argv[1:]
    with Manager(), UnitBed([f"WatchdogSec={seconds}"], program="interop.units.stuck") as bed:
        bed.wait_for_node()
        before = {role: shown(role, "ActiveState") for role in ("backend", "frontend")}
        os.kill(int(shown("backend", "MainPID")), signal.SIGUSR1)
        deadline = time.monotonic() + LIMIT_SEC
        while shown("backend", "ActiveState") == "active" and time.monotonic() < deadline:
            time.sleep(0.1)
        while shown("backend", "Result") == "success" and time.monotonic() < deadline:
            time.sleep(0.1)
        after = {
            "backend": shown("backend", "Result"),
            "frontend": shown("frontend", "ActiveState"),
        }
    print(json.dumps({"before": before, "after": after}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
