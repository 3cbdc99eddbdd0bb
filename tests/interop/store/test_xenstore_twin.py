"""The simulated store against Debian's xenstored: random runs of three domains, compared in all.

Every answer, every errno, every event, transactions with interference included.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from interop.world import Events, World, make_world
from xenpvaudio.xen.api import (
    Txn,
    XenStoreError,
)


def _random_step(source: random.Random, tx: bool) -> tuple[str, list[Any]]:
    """A name of a call and its arguments, of paths that meet often."""
    roots = ["/a", "/a/b", "/a/b/c", "/d", "data", "data/x", "/local/domain/3/data/x/y", "/d/e"]
    path = source.choice(roots)
    steps: list[tuple[str, list[Any]]] = [
        ("write", [path, source.choice(["", "1", "v" * 2100])]),
        ("read", [path]),
        ("list", [path]),
        ("mkdir", [path]),
        ("get_perms", [path]),
        ("set_perms", [path, source.sample(["n0", "r3", "b4", "n3", "w0", "r4"], 2)]),
        ("exists", [path]),
    ]
    steps += [("remove", [path])] * (not tx or source.random() < 0.3)
    return source.choice(steps)


def _play(world: World, seed: int) -> list[object]:
    """A random run of three domains; all answers, errors and events."""
    source = random.Random(seed)
    stores = [world.dom0, world.guest(3), world.guest(4)]
    watches = [Events(store, path) for store in stores for path in ("/a", "data", "/d/e")]
    told: list[object] = []

    def step(nodes: Any, name: str, arguments: list[Any]) -> None:
        try:
            result = getattr(nodes, name)(*arguments)
            told.append((name, arguments, sorted(result) if name == "list" else result))
        except XenStoreError as error:
            told.append((name, arguments, error.code))

    def several(tx: Txn, steps: list[tuple[str, list[Any]]], between: list[Any]) -> None:
        for name, arguments in steps:
            step(tx, name, arguments)
        if between:
            step(*between.pop())

    for _ in range(400):
        store = source.choice(stores)
        if source.random() < 0.15:
            steps = [_random_step(source, True) for _ in range(source.randrange(4))]
            between = [(source.choice(stores), *_random_step(source, False))]
            between *= source.random() < 0.4
            try:
                store.transact(lambda tx, s=steps, b=between: several(tx, s, b))  # type: ignore[misc]
            except XenStoreError as error:
                told.append(("transact", error.code))
        else:
            step(store, *_random_step(source, False))
        told.append([sorted(events.take()) for events in watches])
    return told


@pytest.mark.parametrize("seed", range(6))
def test_simulated_store_answers_like_xenstored(tmp_path: Path, seed: int) -> None:
    runs = []
    for kind in ("simulated", "xenstored"):
        world = make_world(kind, tmp_path)
        try:
            runs.append(_play(world, seed))
        finally:
            world.close()
    for simulated, real in zip(*runs, strict=True):
        assert simulated == real
