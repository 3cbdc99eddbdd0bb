"""CPU of both halves and of both PipeWire daemons while a file is played, in the windows that the
caller chooses: so two trees are measured in the same moments.

    TREE/.venv/bin/python in_step.py QUANTUM

"ready" when it plays; then a line on standard input begins a window, the next one ends it and is
answered with the microseconds a cycle, as JSON.

Runs in the Python of the tree that is measured, as counted.py does.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path

from counted import RATE, testbed

WARM_SEC, LONGEST_SEC = 3.0, 120


def cpu_nsec(pid: int) -> int:
    """Of all its threads (schedstat: exact, not ticks)."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)


def main() -> None:
    quantum_frames = int(sys.argv[1])
    module = testbed()
    try:
        from xenpvaudio.sound.wav import write_wav
    except ImportError:
        from xenpvaudio.wav import write_wav  # type: ignore[import-not-found, no-redef]
    with (
        tempfile.TemporaryDirectory(prefix="xpa-step-") as name,
        module.Testbed(module.card_nodes(), quantum_frames=quantum_frames) as bed,
    ):
        file = Path(name) / "noise.wav"
        write_wav(file, RATE, 2, "s16", random.Random(1).randbytes(4 * RATE * LONGEST_SEC))
        bed.wait_for_node()
        player = bed.guest.popen(["pw-play", "--target", module.SINK, str(file)])
        time.sleep(WARM_SEC)
        pids = {
            "our frontend": bed.frontend.pid,
            "guest's PipeWire": bed.guest.pids()["pipewire"],
            "our backend": bed.backend.pid,
            "host's PipeWire": bed.host.pids()["pipewire"],
        }
        print("ready", flush=True)
        while sys.stdin.readline():
            began, before = time.monotonic(), {who: cpu_nsec(pid) for who, pid in pids.items()}
            sys.stdin.readline()
            cycles = (time.monotonic() - began) * RATE / quantum_frames
            used = {who: (cpu_nsec(pid) - before[who]) / 1e3 / cycles for who, pid in pids.items()}
            print(json.dumps(used), flush=True)
        player.kill()
        player.wait()


if __name__ == "__main__":
    main()
