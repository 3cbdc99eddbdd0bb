"""The kernel's word that something has changed in a directory: inotify(7).

For the control plane's thread; make the descriptor a reader of the event loop.
"""

from __future__ import annotations

import os

from . import ffi, lib

NAMES: int = lib.IN_CREATE | lib.IN_DELETE | lib.IN_MOVED_FROM | lib.IN_MOVED_TO
"""A name in the directory came, went, or is another file's."""
CONTENTS: int = lib.IN_CLOSE_WRITE | lib.IN_ATTRIB
"""Who wrote to a file in it has closed it; or who may read one is different."""
ITSELF: int = lib.IN_DELETE_SELF | lib.IN_MOVE_SELF
"""The directory is gone, or called otherwise."""
_READ_BYTES = 1 << 16


class Inotify:
    """Raises OSError: ENOSYS, or EMFILE when the user has too many of them."""

    def __init__(self) -> None:
        self._fd = _checked(lib.inotify_init1(lib.IN_NONBLOCK | lib.IN_CLOEXEC))

    def fileno(self) -> int:
        return self._fd

    def watch(self, directory: str, mask: int) -> int:
        """The watch's number; OSError if there is no such directory. Watched already: this `mask`
        takes the place of the one before."""
        path = os.fsencode(directory)
        return _checked(lib.inotify_add_watch(self._fd, path, mask | lib.IN_ONLYDIR))

    def unwatch(self, number: int) -> None:
        """Nothing, if the directory has gone."""
        lib.inotify_rm_watch(self._fd, number)

    def clear(self) -> None:
        """Forgets what has been told until now: what it was is looked for where it happened."""
        try:
            while os.read(self._fd, _READ_BYTES):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        os.close(self._fd)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    return result
