"""Program: faults by chance in both halves' data planes, on a simulated clock.

    python -m faults.chance SECONDS [SEED]

SECONDS are simulated ones. What goes wrong, and what must hold all the same:
tests/pw_module/node/test_pw_chance.c.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pw_module.test_c_streams import build


def main() -> int:
    seconds, seed, *_ = [*sys.argv[1:], "1"]
    with tempfile.TemporaryDirectory() as folder:
        program = build("test_pw_chance", "", Path(folder))
        env = {**os.environ, "CHANCE_SEC": seconds, "CHANCE_SEED": seed}
        return subprocess.run([str(program)], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
