"""A JACK client that joins one device, between its source and its sink."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from interop.changes.change import change
from interop.changes.place import DEVICES, Place
from interop.jack import JackIodelay


@change("jack_iodelay, at one after the other", hold_sec=1.0)
@contextmanager
def _jack(place: Place) -> Iterator[None]:
    """On the right channel, which nobody listens to. All JACK clients of this name are one to
    pw-link: so first at the one device, then at the other."""
    with JackIodelay(place.guest, DEVICES[0].into("FR"), DEVICES[0].out("FR")):
        time.sleep(1.0)
    with JackIodelay(place.guest, DEVICES[1].into("FR"), DEVICES[1].out("FR")):
        yield
