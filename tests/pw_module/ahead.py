"""Programs in C and their twins, run for many tests: on all processors at once.

Where pytest itself is on all of them (xdist), each of its processes knows all tests and is given a
part: a job is done there when a test asks for it, or each process would do all of them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
Done = subprocess.CompletedProcess[str]


def run_program(program: Path, **env: str) -> Done:
    """The limit only ends a hang; nothing is timed. The first data race ends a program: gcc 14's
    sanitizer needs milliseconds to report one, and a twin has 60000."""
    return subprocess.run(
        [program],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **env, "TSAN_OPTIONS": "halt_on_error=1"},
    )


def chosen(request: pytest.FixtureRequest, test: Callable[..., None]) -> list[pytest.Function]:
    """The calls of a parametrized test that this run of pytest has chosen."""
    return [
        item
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test
    ]


class _WhenAsked(Future[T]):
    def __init__(self, job: Callable[[], T]) -> None:
        super().__init__()
        self._job = job

    def result(self, timeout: float | None = None) -> T:
        if not self.done():
            try:
                self.set_result(self._job())
            except BaseException as error:
                self.set_exception(error)
        return super().result(timeout)


@contextmanager
def ahead(jobs: Mapping[str, Callable[[], T]]) -> Iterator[dict[str, Future[T]]]:
    """What each job returns, or raises, as a future. At the end nothing new is begun."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        yield {name: _WhenAsked(job) for name, job in jobs.items()}
        return
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield {name: pool.submit(job) for name, job in jobs.items()}
    finally:
        pool.shutdown(cancel_futures=True)
