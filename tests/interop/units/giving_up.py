"""A half that systemd cannot even start, as where the kernel makes no namespaces: how often it is
tried.

    python -m interop.units.giving_up SECONDS     in place of the unit's RestartSec

Run by place.py; prints one JSON object: what the unit came to, and how often it was started anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from interop.units.session import SOURCE, UNITS, Manager, shown, systemctl, unit

LIMIT_SEC = 120  # a busy machine's
LOOKS = 10  # in a row: newer ones are failed for a moment before each start, too
ROLE = "backend"


def main() -> int:
    (seconds,) = sys.argv[1:]
    # Nothing can be bound from there: the namespace of files is not made (226/NAMESPACE).
    changes = ["[Unit]", "ConditionPathExists=", "ConditionGroup=", "[Service]"]
    changes += ["BindPaths=/nonexistent", f"RestartSec={seconds}"]
    with Manager():
        (UNITS / unit(ROLE)).write_text((SOURCE / unit(ROLE)).read_text())
        drop_in = UNITS / f"{unit(ROLE)}.d" / "here.conf"
        drop_in.parent.mkdir()
        drop_in.write_text("\n".join(changes) + "\n")
        systemctl("daemon-reload")
        subprocess.run(["systemctl", "--user", "start", unit(ROLE)], check=False)
        deadline = time.monotonic() + LIMIT_SEC
        looks = 0
        while looks < LOOKS and time.monotonic() < deadline:
            looks = looks + 1 if shown(ROLE, "ActiveState") == "failed" else 0
            time.sleep(0.1)
        names = ("ActiveState", "Result", "NRestarts", "ExecMainStatus")
        print(json.dumps({name: shown(ROLE, name) for name in names}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
