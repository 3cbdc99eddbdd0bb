"""Starting a simulated hypervisor as a process of its own, and asking it what was left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from xenpvaudio.errors import UnavailableError

from .tables import Json

READY_SEC = 10.0


class HypervisorProcess:
    """A running hypervisor; it ends with stop(), and with this process however that ends."""

    def __init__(self, directory: str, process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def report(self) -> list[str]:
        """One line for each grant, mapping and port that any process holds."""
        lines: list[str] = self._ask("report")["lines"]
        return lines

    def assert_clean(self) -> None:
        """AssertionError that lists what is still held."""
        lines = self.report()
        if lines:
            raise AssertionError("not given back: " + "; ".join(lines))

    def trouble(self, domid: int, **what: object) -> None:
        """From now on; what there is, see trouble.py."""
        self._ask("trouble", domid=domid, **what)

    def end_troubles(self) -> None:
        self._ask("end_troubles")

    def held(self) -> list[int]:
        """Processes that have stopped at the step that was ordered."""
        pids: list[int] = self._ask("held")["pids"]
        return pids

    def lose_store(self) -> None:
        """XenStore is gone until restore_store(); its tree stays."""
        self._ask("lose_store")

    def restore_store(self) -> None:
        self._ask("restore_store")

    def _ask(self, op: str, **arguments: object) -> Json:
        from .domain import Hypercalls

        hypercalls = Hypercalls(self.directory, 0)
        try:
            return hypercalls.call(op, **arguments)[0]
        finally:
            hypercalls.close()

    def kill(self) -> None:
        """As if the machine had lost its power."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def __enter__(self) -> HypervisorProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _end(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(READY_SEC)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def start_hypervisor(directory: str | os.PathLike[str]) -> HypervisorProcess:
    """Ready when it returns; UnavailableError with the hypervisor's own words if it cannot start.

    It has a session of its own: a Ctrl-C at the terminal is for its users, who stop it last.
    """
    directory = os.path.abspath(os.fspath(directory))
    source_root = str(Path(__file__).resolve().parents[3])
    paths = [source_root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    process = subprocess.Popen(
        [sys.executable, "-m", "xenpvaudio.xen.sim", "--until-stdin-closes", directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
    )
    assert process.stdout and process.stderr
    ready, _, _ = select.select([process.stdout], [], [], READY_SEC)
    if ready and process.stdout.readline() == b"READY\n":
        process.stderr.close()
        return HypervisorProcess(directory, process)
    process.kill()
    words = process.communicate()[1].decode(errors="replace").strip().splitlines()
    raise UnavailableError(
        f"the simulated hypervisor did not start: {words[-1] if words else 'no answer'}"
    )
