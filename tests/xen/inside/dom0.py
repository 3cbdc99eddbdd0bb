"""dom0's side of a boot: runs scenario modules, prints their results, keeps what explains them.

    dom0.py MODULE...

A module of scenarios/ has `run(lab)`. Each result is one console line, "@@ PASS name figure" or
"@@ FAIL name reason"; the runner outside looks for them. After a FAIL, lines "@@ WHY name text"
are the end of what explains it.
"""

from __future__ import annotations

import importlib
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from frames import DifferentError, compare_frames, samples
from guest import LAB, Guest, GuestError, command

# For scenarios: one import gives them all.
__all__ = [
    "OUT",
    "Daemon",
    "Lab",
    "ScenarioError",
    "compare_frames",
    "expect",
    "finished",
    "heard_until",
    "store_read",
    "wait_until",
    "wav_data",
]

OUT = LAB / "out"
EXPLAIN = """
cat /proc/asound/cards; lsmod | grep snd; ps ax | tail -20
for p in $(pgrep "xenwatch|xenbus|aplay"); do
    echo "$p $(cat /proc/$p/comm)"
    cat /proc/$p/stack
done
dmesg | tail -60
"""
WHY_LINES = 6
PROGRAM = "/usr/local/bin/xen-pv-audio"
# For what is to come about, nobody says how soon: the emulator may have busy programs beside it.
PATIENCE_SEC = 120.0


class ScenarioError(Exception):
    """What a scenario saw is not what it should be."""


def expect(true: bool, otherwise: str) -> None:
    if not true:
        raise ScenarioError(otherwise)


def wait_until(true: Callable[[], bool], what: str, timeout_sec: float = PATIENCE_SEC) -> float:
    """Seconds until `true()`; ScenarioError naming `what` if that does not come about."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > timeout_sec:
            raise ScenarioError(f"{what}: not within {timeout_sec:g} s")
        time.sleep(0.1)  # what runs here takes from the one processor that the backend has
    return time.monotonic() - started


def store_read(path: str) -> str | None:
    found = command("xenstore-read", path, check=False)
    return found.output.strip() if found.status == 0 else None


class Daemon:
    """`xen-pv-audio backend` in dom0, as a user runs it; its log is OUT/<name>.log."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.log_path = OUT / f"{name}.log"
        self._log = self.log_path.open("ab")
        self._mark = self._log.tell()
        started = time.monotonic()
        self.process = subprocess.Popen(
            [PROGRAM, "backend", "-v", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_until(
            lambda: "is ready" in self.log() or self.process.poll() is not None,
            "the backend's start",
        )
        if self.process.poll() is not None:
            raise ScenarioError(f"the backend ended: {self.log().strip()[-400:]}")
        self.ready_sec = time.monotonic() - started

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def log(self) -> str:
        """What it has written since it was started."""
        with self.log_path.open("rb") as file:
            file.seek(self._mark)
            return file.read().decode(errors="replace")

    def stop(self) -> float:
        """SIGTERM; seconds until it has gone. ScenarioError if it does not end, or not well."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
                raise ScenarioError("the backend does not end at SIGTERM") from None
        self._log.close()
        return time.monotonic() - started

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Lab:
    """Given to each module's run()."""

    def __init__(self) -> None:
        self.failed = 0
        self.frames = (LAB / "job/frames.raw").read_bytes()
        """numbered S16 stereo frames, the same file as the guests have."""
        self._guest: Guest | None = None

    def explain_with(self, guest: Guest) -> None:
        """A failure also asks this guest's kernel what it is doing."""
        self._guest = guest

    @contextmanager
    def scenario(self, name: str) -> Iterator[list[str]]:
        """One result line; append figures to the list."""
        figures: list[str] = []
        started = time.monotonic()
        try:
            yield figures
        except Exception as error:
            self.failed += 1
            if not isinstance(error, (ScenarioError, GuestError, DifferentError)):
                traceback.print_exc()
            reason = " ".join(str(error).split()) or type(error).__name__
            self.say(f"FAIL {name} {reason[:400]}")
            self.keep(name)
        else:
            took = time.monotonic() - started
            self.say(f"PASS {name} {', '.join(figures)} ({took:.1f} s)")

    def say(self, text: str) -> None:
        print(f"@@ {text}", flush=True)

    def why(self, name: str, text: str) -> None:
        for line in text.splitlines()[-WHY_LINES:]:
            self.say(f"WHY {name} {' '.join(line.split())[:200]}")

    def keep(self, name: str) -> None:
        """XenStore as it is now, beside the logs."""
        dump = command("xenstore-ls", "-fp", check=False).output
        (OUT / f"{name}.xenstore").write_text(dump)
        logs = list(OUT.glob("backend*.log"))
        if logs:
            newest = max(logs, key=lambda path: path.stat().st_mtime)
            self.why(name, newest.read_text(errors="replace"))
        if self._guest is not None and self._guest.domid is not None:
            try:
                explanation = self._guest.run(EXPLAIN, 20).output
            except GuestError as error:
                explanation = str(error)
            (OUT / f"{name}.guest").write_text(explanation)
            self.why(name, explanation)
        for path in OUT.glob("*-play.wav"):
            shutil.copy(path, OUT / f"{name}.wav")


def wav_data(path: Path) -> bytes:
    """The samples of a WAV file."""
    return samples(path.read_bytes())


def finished(path: Path) -> bytes:
    """The samples of one of the backend's recordings, once it is complete: its header has the
    length then, after the stream was closed."""
    wait_until(lambda: path.exists() and any(path.read_bytes()[40:44]), f"the end of {path.name}")
    return wav_data(path)


def heard_until(path: Path, last: bytes, times: int = 1) -> bytes:
    """The samples so far, once `last` is among them so many times or the recording is complete;
    after 30 s all the same, for the caller to tell what is missing."""
    end = time.monotonic() + 30
    while True:
        complete = path.exists() and any(path.read_bytes()[40:44])
        recorded = wav_data(path) if path.exists() else b""
        if recorded.count(last) >= times or complete or time.monotonic() > end:
            return recorded
        time.sleep(0.2)


def main() -> int:
    sys.path.insert(0, str(LAB / "scenarios"))
    sys.path.insert(0, str(LAB / "scenarios" / "kernel"))
    lab = Lab()
    for name in sys.argv[1:]:
        try:
            importlib.import_module(name).run(lab)
        except Exception as error:
            traceback.print_exc()
            lab.failed += 1
            lab.say(f"FAIL {name} ended early: {' '.join(str(error).split())[:400]}")
    return 1 if lab.failed else 0


if __name__ == "__main__":
    sys.exit(main())
