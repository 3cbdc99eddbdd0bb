"""Tells when a file may have become another one, by inotify: nothing wakes a machine meanwhile.

The file need not be there, nor its directory: what is watched is each directory on the way to it,
for being taken away, and those where a name decides what comes next (one that is missing, a
symbolic link, the file's own) for changes of names. So an editor may write to the file or put
another in its place, and a directory of the path may be made later. Changes on the servers of
network file systems are not told. Where the kernel gives no inotify, or the directory may not be
read, it is a timer. The event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from xenpvaudio_native.inotify import CONTENTS, ITSELF, NAMES, Inotify

log = logging.getLogger(__name__)

LOOK_SEC = 3.0
"""Without inotify."""
SETTLE_SEC = 0.3
"""Who writes a file in several steps is mostly done by then, and a directory that is written to all
the time costs no more than a look in this."""
_MOST_LINKS = 40
_MOST_TRIES = 5


def watched(path: Path) -> dict[str, int]:
    """Directories on the way to `path`, following symbolic links, and what to watch in each."""
    place, left, links = os.sep, list(Path(os.path.abspath(path)).parts[1:]), 0
    found: dict[str, int] = {}
    while left:
        name = left.pop(0)
        step = os.path.join(place, name)
        found[place] = found.get(place, 0) | ITSELF
        try:
            target = os.readlink(step) if os.path.islink(step) else None
        except OSError:
            target = None  # it has just gone
        if target is not None and links < _MOST_LINKS:
            links += 1
            found[place] |= NAMES
            parts = Path(os.path.abspath(os.path.join(place, target))).parts
            place, left = os.sep, [*parts[1:], *left]
        elif left and os.path.isdir(step):
            place = step
        else:
            found[place] |= NAMES | CONTENTS
            break
    return found


class FileWatch:
    """From start() to stop(); `changed` is to look whether it is another one."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._inotify: Inotify | None = None
        self._watches: dict[str, int] = {}
        self._blind = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._inotify = Inotify()
        except OSError as error:
            self._is_blind(error)
        else:
            loop.add_reader(self._inotify.fileno(), self._told)
            self._arm(self._inotify)
        if self._blind:
            self._timer = loop.call_later(LOOK_SEC, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _is_blind(self, error: OSError) -> None:
        if not self._blind:
            log.info("%s is looked at now and then: inotify: %s", self._path, error.strerror)
        self._blind = True

    def _arm(self, inotify: Inotify) -> None:
        """As the way to the file is now."""
        before, wanted = self._watches, watched(self._path)
        for _ in range(_MOST_TRIES):
            self._watches = {}
            for directory, mask in wanted.items():
                try:
                    self._watches[directory] = inotify.watch(directory, mask)
                except FileNotFoundError:
                    pass  # it has just gone, and the next try does without it
                except OSError as error:
                    if mask & NAMES:
                        self._is_blind(error)
            done, wanted = wanted, watched(self._path)
            if done == wanted:  # nothing has come or gone between looking and watching
                break
        for number in set(before.values()) - set(self._watches.values()):
            inotify.unwatch(number)

    def _told(self) -> None:
        assert self._inotify is not None
        self._inotify.clear()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLE_SEC, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._inotify is not None:
            self._inotify.clear()
            self._arm(self._inotify)
        if self._blind:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SEC, self._look)
        self._changed()
