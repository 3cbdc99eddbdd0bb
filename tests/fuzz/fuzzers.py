"""All fuzzers by name, and what a run of one comes to, whatever it is made with."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fuzz import building
from fuzz.loop import CORPUS, MACHINE, MOST_BYTES

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "fuzz"

IN_C = tuple(building.PROGRAMS)
IN_PYTHON = ("directory", "card", "volume", "availability", "store_daemon", "store_client")
ALL = (*IN_C, *IN_PYTHON, MACHINE)

_EXECUTIONS = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
_OPERATIONS = re.compile(r"^operations: (\d+)$", re.MULTILINE)
_CRASH = re.compile(r"(?:^crash: |written to )(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Limit:
    """So many inputs from this seed, or so many seconds, or so many operations."""

    runs: int = 0
    seconds: int = 0
    operations: int = 0
    seed: int = 1


@dataclass(frozen=True)
class Result:
    name: str
    executions: int
    operations: int
    took_sec: float
    crashes: tuple[Path, ...]
    output: str

    @property
    def failed(self) -> bool:
        return bool(self.crashes)

    def row(self) -> str:
        rate = self.executions / self.took_sec
        work = self.operations / self.took_sec
        return (
            f"{self.name:14}{self.executions:12} executions {rate:9.0f}/s"
            f"{self.operations:13} operations {work:9.0f}/s {len(self.crashes):4} crashes"
        )


def has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def c_command(program: Path, name: str, limit: Limit, found: Path, crashes: Path) -> list[str]:
    stop = f"-runs={limit.runs}" if limit.runs else f"-max_total_time={limit.seconds}"
    flags = [stop, f"-seed={limit.seed}", f"-max_len={MOST_BYTES}", f"-artifact_prefix={crashes}/"]
    flags += ["-print_final_stats=1", "-timeout=60", "-rss_limit_mb=1024", "-verbosity=0"]
    return [str(program), str(found), str(CORPUS / name), *flags]


def python_command(
    name: str, limit: Limit, found: Path, crashes: Path, coverage: bool
) -> list[str]:
    stop = ["--runs", str(limit.runs)] if limit.runs else ["--seconds", str(limit.seconds)]
    if limit.operations:
        stop = ["--operations", str(limit.operations)]
    flags = [*stop, "--seed", str(limit.seed), "--crashes", str(crashes), "--found", str(found)]
    return [sys.executable, "-m", "fuzz.loop", name, *flags, *(["--coverage"] if coverage else [])]


def run_command(name: str, command: list[str], crashes: Path) -> Result:
    crashes.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, sys.path))
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=8:handle_abort=1",
    }
    began = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, env=environment
    )
    took_sec = max(time.monotonic() - began, 1e-3)
    output = done.stdout + done.stderr
    named = tuple(Path(path) for path in _CRASH.findall(output))
    if done.returncode != 0 and not named:  # it did not even begin, or died otherwise
        path_ = crashes / f"{name}-output.txt"
        path_.write_text(output)
        named = (path_,)
    executions = [int(found) for found in _EXECUTIONS.findall(output)]
    operations = [int(found) for found in _OPERATIONS.findall(output)]
    return Result(
        name, max(executions, default=0), max(operations, default=0), took_sec, named, output
    )


def run(name: str, limit: Limit, *, keep: bool = True, coverage: bool = False) -> Result:
    """`keep`: inputs that reach something new are there the next time."""
    crashes = CACHE / "crashes"
    with tempfile.TemporaryDirectory(prefix="xpa-fuzz-") as folder:
        found = CACHE / "found" / name if keep else Path(folder)
        found.mkdir(parents=True, exist_ok=True)
        if name in IN_C:
            program = building.build(name, CACHE / "build")
            command = c_command(program, name, limit, found, crashes)
        else:
            command = python_command(name, limit, found, crashes, coverage and name != MACHINE)
        return run_command(name, command, crashes)


COUNT_ROUND = {True: 2_000_000, False: 100_000}
"""Operations of a process, of one in C and of one in Python: ten seconds, in which a leak shows."""


def count_command(program: Path, name: str, limit: Limit, found: Path, crash: Path) -> list[str]:
    numbers = [str(limit.seed), str(limit.operations)]
    return [str(program), *numbers, str(crash), str(CORPUS / name), str(found)]


def _count_round(name: str, limit: Limit) -> Result:
    crashes = CACHE / "crashes"
    found = CACHE / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    if name not in IN_C:
        return run_command(name, python_command(name, limit, found, crashes, False), crashes)
    program = building.build_count(name, CACHE / "build")
    building.build(name, CACHE / "build")  # by which a crash is repeated
    crash = crashes / f"{name}-count-{limit.seed}"
    return run_command(name, count_command(program, name, limit, found, crash), crashes)


def count(name: str, operations: int, seed: int, told: Callable[[Result], None]) -> Result:
    """So many operations as fast as they go: in rounds from one seed after another, without
    coverage, until a round breaks. `told` is called with the sum so far after each."""
    done = Result(name, 0, 0, 0.0, (), "")
    while done.operations < operations and not done.failed:
        left = min(COUNT_ROUND[name in IN_C], operations - done.operations)
        one = _count_round(name, Limit(operations=left, seed=seed))
        done = replace(
            one,
            executions=done.executions + one.executions,
            operations=done.operations + one.operations,
            took_sec=done.took_sec + one.took_sec,
        )
        seed += 1
        told(done)
    return done


def repeat_line(name: str, crash: Path) -> str:
    """How to see it again."""
    if name in IN_C:
        return f"{(CACHE / 'build' / f'fuzz_{name}').relative_to(ROOT)} {crash}"
    return f"PYTHONPATH=tests .venv/bin/python -m fuzz.loop {name} {crash}"
