"""Both ends of a card, as far as their states go."""

from __future__ import annotations

import threading

from interop.world import World

LIMIT_SEC = 30.0  # only a bound for a test that fails


class Ends:
    """What backend and frontend write when they see something: `steps` is (node, value) -> (node,
    value). Looks until it is stopped, in a thread, over a connection of its own."""

    def __init__(self, world: World, steps: dict[tuple[str, str], tuple[str, str]]) -> None:
        self._store = world.connect(0)
        self._steps = steps
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            for (node, value), (other, new) in self._steps.items():
                if self._store.get(node) == value and self._store.get(other) not in (None, new):
                    self._store.write(other, new)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(LIMIT_SEC)
        assert not self._thread.is_alive()
