"""The node `unavailable-streams` as any backend writes, hides and removes it, as often as it likes,
before the frontend's end of the availability extension.

Invariant: what is known is a set of words that are not empty, or nothing; whoever is told is told
of another set than before; XenStore is asked for it once a second at most; and the newest is known
a second after the last change, without a watch or timer too many.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

from fuzz.clock import clock
from fuzz.source import Source
from xenpvaudio.xen.api import AccessError, StoreGoneError
from xenpvaudio.xenbus import availability

PIECES = ("0/0", "0/1", ",", ";", ",,", "", " ", "0/1,0/1", "\x1b[31m", "\u202e", "x" * 99)
_log = logging.getLogger(__name__)
_log.disabled = True


class _Watch:
    def __init__(self, store: _Store, fired: Callable[[str], None]) -> None:
        self._store = store
        self.fired = fired
        store.watches.append(self)

    @property
    def pending(self) -> bool:
        return False

    def skip(self) -> None:
        """Nothing is queued: it fires at once."""

    def cancel(self) -> None:
        self._store.watches.remove(self)


class _Store:
    """One node of the backend's, of which every change fires."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.hidden = self.gone = False
        self.watches: list[_Watch] = []
        self.asked = 0

    def watch(self, path: str, callback: Callable[[str], None]) -> _Watch:
        if self.gone:
            raise StoreGoneError("no XenStore")
        watch = _Watch(self, callback)
        clock().call_soon(self.fire)
        return watch

    def get(self, path: str) -> str | None:
        self.asked += 1
        if self.gone:
            raise StoreGoneError("no XenStore")
        if self.hidden:
            raise AccessError("not yours")
        return self.text

    def fire(self) -> None:
        if not self.gone:
            for watch in tuple(self.watches):
                watch.fired("")


async def _lived(source: Source) -> int:
    now, store, heard = clock(), _Store(), list[frozenset[str] | None]()
    watch = availability.AvailabilityWatch(
        store,  # type: ignore[arg-type]
        "/local/domain/0/backend/vsnd/1/0",
        lambda: heard.append(watch.unavailable),
        _log,
    )
    began_sec, changes = now.now_sec, 0
    watch.start()
    starts = 1
    while source.left:
        changes += 1
        choice = source.below(8)
        if choice == 0:
            await now.go_on(source.below(250) / 100)
        elif choice == 1:
            store.hidden = bool(source.below(2))
        elif choice == 2:
            store.gone = bool(source.below(2))
        elif choice == 3 and source.below(4) == 0:
            watch.start()  # it is connected anew
            starts += 1
        else:
            pieces = [source.pick(PIECES) for _ in range(source.below(6))]
            store.text = None if source.below(8) == 0 else "".join(pieces)
        store.fire()
        await now.go_on(0)
        assert len(store.watches) <= 1, f"{len(store.watches)} watches"
    store.gone = store.hidden = False
    store.fire()
    for _ in range(2):
        await now.go_on(availability.HOLD_SEC)
    known = watch.unavailable
    assert known is None or "" not in known, "a stream without a path"
    wanted = None if store.text is None else frozenset(store.text.split(",")) - {""}
    assert known == wanted, f"{known} is known of {store.text!r}"
    assert all(one != other for one, other in itertools.pairwise(heard)), "told twice"
    often = 2 + starts + (now.now_sec - began_sec) / availability.HOLD_SEC
    assert store.asked <= often, f"asked {store.asked} times"
    watch.stop()
    assert store.watches == []
    return changes


def run(data: bytes) -> int:
    """How many changes there were."""
    return clock().run_until_complete(_lived(Source(data)))
