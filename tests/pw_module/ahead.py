"""Work that many tests wait for, begun by the first of them: on all processors at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest

T = TypeVar("T")


def chosen(request: pytest.FixtureRequest, test: Callable[..., None]) -> list[pytest.Function]:
    """The calls of a parametrized test that this run of pytest has chosen."""
    return [
        item
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test
    ]


@contextmanager
def ahead(jobs: Mapping[str, Callable[[], T]]) -> Iterator[dict[str, Future[T]]]:
    """What each job returns, or raises, as a future. At the end nothing new is begun."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield {name: pool.submit(job) for name, job in jobs.items()}
    finally:
        pool.shutdown(cancel_futures=True)
