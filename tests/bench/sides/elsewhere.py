"""Ours of another commit, so that before and after are measured in the same rounds. The bed runs in
that tree's own Python, by this file as a program:

    TREE/.venv/bin/python elsewhere.py QUANTUM

It prints where to play and what it consists of, as JSON, and ends with its standard input.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Guest:
    """A session of the other process'; what a Side needs of it."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def popen(self, args: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen(args, env=self.env, **options)


@contextmanager
def null_output(tree: Path, name: str, quantum: int) -> Iterator[Any]:
    """As ours.null_output, of the tree set up there."""
    from bench.sides.side import Side  # only this tree has it

    running = subprocess.Popen(
        [tree / ".venv/bin/python", __file__, str(quantum)],
        cwd=tree,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdin is not None and running.stdout is not None
    try:
        if not (line := running.stdout.readline()):
            raise RuntimeError(f"the bed of {name} has ended")
        told = json.loads(line)
        yield Side(name, Guest(told["env"]), told["sink"], told["processes"], told["beside"])
    finally:
        running.stdin.close()
        running.wait()


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from counted import RATE, testbed

    module = testbed()
    with module.Testbed(
        module.card_nodes(capture=False),
        rate=RATE,
        quantum_frames=int(sys.argv[1]),
        host_environ=os.environ,
        backend_args=["--output", "null"],
    ) as bed:
        bed.wait_for_node()
        guest = bed.guest.pids()
        told = {
            "env": bed.guest.env,
            "sink": module.SINK,
            "processes": {
                "daemon": guest["pipewire"],
                "frontend": bed.frontend.pid,
                "backend": bed.backend.pid,
            },
            "beside": {"session manager": guest["wireplumber"]},
        }
        print(json.dumps(told), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
