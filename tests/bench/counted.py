"""Instructions a cycle of one half while a file is played, counted by valgrind: nearly the same
figure on a busy machine and on a quiet one.

    TREE/.venv/bin/python counted.py HALF QUANTUM      prints the number

Runs in the Python of the tree that is measured and needs nothing else of this one, so that older
commits can be counted, too. The kernel's share is not in it.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

RATE = 48000
WARM_SEC, COUNT_SEC = 12.0, 10.0
CYCLE = "on_process"
"""PipeWire's call into either half, once a cycle (pipewire/host.c, node/node.c)."""
# valgrind knows not every system call by which rights are given up.
PROGRAM = """
import sys
try:
    import xenpvaudio_native.privilege as privilege
    privilege.drop_privileges = lambda *_, **__: None
except ImportError:
    pass
from xenpvaudio.cli import main
sys.exit(main(sys.argv[1:]))
"""


def cycles_and_instructions(text: str) -> tuple[int, int]:
    """Of a callgrind file: calls of CYCLE, and the sum. Names come once, then as numbers."""
    names: dict[str, str] = {}
    calls: Counter[str] = Counter()
    called, total = "", 0
    for line in text.splitlines():
        if found := re.match(r"c?fn=\((\d+)\)(?: (.*))?", line):
            names.setdefault(found[1], (found[2] or "").strip())
            called = names[found[1]] if line.startswith("cfn") else called
        elif line.startswith("calls="):
            calls[called] += int(line.removeprefix("calls=").split()[0])
        elif line.startswith(("summary:", "totals:")):
            total = int(line.split()[1])
    return sum(n for name, n in calls.items() if name.split("'")[0] == CYCLE), total


def under_valgrind(half: str, out: Path) -> type[Any]:
    """Popen that starts this half in valgrind, and all else as it is."""

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, args: Any, *rest: Any, **options: Any) -> None:
            if isinstance(args, list) and "xenpvaudio" in args and half in args:
                at = args.index("xenpvaudio") - 2  # PYTHON -m xenpvaudio
                counting = ["--tool=callgrind", "--instr-atstart=no", "--quiet"]
                counting.append(f"--callgrind-out-file={out}")
                python = [args[at], "-c", PROGRAM]
                args = [*args[:at], "valgrind", *counting, *python, *args[at + 3 :]]
            super().__init__(args, *rest, **options)

    return Popen


def testbed() -> Any:
    """This tree's, wherever it is there. A half takes longer to appear in valgrind."""
    try:
        from xenpvaudio.testbed import testbed as module
    except ImportError:
        from xenpvaudio import testbed as module
    module._APPEAR_SEC = module._KILL_SEC = 120.0
    return module


def counted(half: str, quantum_frames: int) -> float:
    bed_module = testbed()
    try:
        from xenpvaudio.sound.wav import write_wav
    except ImportError:
        from xenpvaudio.wav import write_wav  # type: ignore[import-not-found, no-redef]
    with tempfile.TemporaryDirectory(prefix="xpa-count-") as name:
        out, file = Path(name) / "callgrind.out", Path(name) / "noise.wav"
        seconds = int(WARM_SEC + COUNT_SEC) + 60
        noise = random.Random(1).randbytes(4 * RATE * seconds)
        write_wav(file, RATE, 2, "s16", noise)
        usual = subprocess.Popen
        subprocess.Popen = under_valgrind(half, out)  # type: ignore[misc]
        try:
            with bed_module.Testbed(bed_module.card_nodes(), quantum_frames=quantum_frames) as bed:
                bed.wait_for_node()
                player = bed.guest.popen(["pw-play", "--target", bed_module.SINK, str(file)])
                time.sleep(WARM_SEC)
                pid = str(getattr(bed, half).pid)
                for switch, then_sec in (("on", COUNT_SEC), ("off", 0.0)):
                    control = ["callgrind_control", "-i", switch, pid]
                    subprocess.run(control, check=True, stdout=subprocess.DEVNULL)
                    time.sleep(then_sec)
                player.kill()
                player.wait()
        finally:
            subprocess.Popen = usual  # type: ignore[misc]
        cycles, instructions = cycles_and_instructions(out.read_text())
    if not cycles:
        sys.exit(f"counted: the {half} ran no cycle")
    return instructions / cycles


if __name__ == "__main__":
    print(round(counted(sys.argv[1], int(sys.argv[2]))))
