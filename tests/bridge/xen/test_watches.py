"""Events that nobody was told of yet: what is kept of them does not grow with what others write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.xen.sim_world import at_once
from xenpvaudio.xen.real.xenstore import MOST_UNTOLD_PATHS, PyxsStore, open_socket
from xenpvaudio.xen.sim import start_hypervisor
from xenpvaudio.xen.sim.paths import XENSTORE, socket_path


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    with start_hypervisor(tmp_path):
        yield socket_path(str(tmp_path), 0, XENSTORE)


@pytest.fixture
def store(path: str) -> Iterator[PyxsStore]:
    store = open_socket(path, call_soon=at_once)
    yield store
    store.close()


def test_events_that_are_not_told_yet_are_kept_as_a_set_of_paths(
    path: str, store: PyxsStore
) -> None:
    asked: list[tuple[Callable[[], None]]] = []
    late = open_socket(path, call_soon=lambda *call: asked.append(call))
    told: list[str] = []
    watch = late.watch("/t", told.append)

    def tell() -> list[str]:
        late.read("/")  # its answer comes after the events before it
        told.clear()
        while asked:
            asked.pop(0)[0]()
        return list(told)

    assert tell() == ["/t"]
    for _ in range(1000):
        store.write("/t/a", "1")
        store.write("/t/b", "1")
    late.read("/")
    assert len(asked) == 1  # whatever comes, the loop is asked for one call
    assert watch.pending
    assert tell() == ["/t/a", "/t/b"]
    assert not watch.pending
    for number in range(1000):
        store.write(f"/t/{number}", "1")
    late.read("/")
    assert len(watch._untold) <= MOST_UNTOLD_PATHS  # type: ignore[attr-defined]
    assert "/t" in tell()  # look at everything
    late.close()


def test_events_that_are_skipped_are_not_told_and_later_ones_are(
    path: str, store: PyxsStore
) -> None:
    asked: list[tuple[Callable[[], None]]] = []
    late = open_socket(path, call_soon=lambda *call: asked.append(call))
    told: list[str] = []
    watch = late.watch("/t", told.append)
    late.read("/")
    watch.skip()
    assert not watch.pending
    store.write("/t/a", "1")
    late.read("/")
    assert watch.pending
    while asked:
        asked.pop(0)[0]()
    assert told == ["/t/a"]
    late.close()
