"""Changes by the daemon's metadata `settings`, which touch all devices, and of the default one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import DEVNULL

from interop.changes.change import ALLOWED_FRAMES, Make, add, change
from interop.changes.place import (
    DEVICES,
    LEAST_FRAMES,
    MOST_FRAMES,
    OTHER_RATE,
    QUANTUM_FRAMES,
    RATE,
    Place,
)


def _set(place: Place, key: str, value: int) -> None:
    place.guest.run(["pw-metadata", "-n", "settings", "0", key, str(value)], stdout=DEVNULL)


def _setting(key: str, value: int, usual: int) -> Make:
    @contextmanager
    def make(place: Place) -> Iterator[None]:
        _set(place, key, value)
        yield
        _set(place, key, usual)

    return make


for frames in (64, 256, 2048):
    add(f"quantum forced to {frames}", _setting("clock.force-quantum", frames, 0))
add("default quantum 512", _setting("clock.quantum", 512, QUANTUM_FRAMES))
add("least quantum 2048", _setting("clock.min-quantum", 2048, LEAST_FRAMES))
add("largest quantum 256", _setting("clock.max-quantum", 256, MOST_FRAMES))
add("default rate 44100", _setting("clock.rate", OTHER_RATE, RATE))
add("log level", _setting("log.level", 3, 2))


@change("rate forced to 44100 and to 48000")
@contextmanager
def _rates(place: Place) -> Iterator[None]:
    """What is forced no longer stays as it is: so the old rate is forced, too."""
    _set(place, "clock.force-rate", OTHER_RATE)
    yield
    _set(place, "clock.force-rate", RATE)
    _set(place, "clock.force-rate", 0)


IN_A_ROW = (256, 1024, 128, 2048, 512)


@change("quantum forced five times in a row", allowed_frames=2 * ALLOWED_FRAMES)
@contextmanager
def _one_after_another(place: Place) -> Iterator[None]:
    """How many of them each graph goes through is a matter of luck."""
    for frames in IN_A_ROW:
        _set(place, "clock.force-quantum", frames)
    yield
    _set(place, "clock.force-quantum", 0)


@change("default sink moves")
@contextmanager
def _default_sink(place: Place) -> Iterator[None]:
    """A client that follows the default device moves from one to the other and back."""
    follower = place.guest.popen(["pw-play", str(place.silence[RATE])], stderr=DEVNULL)
    ours, theirs = (device.sink for device in DEVICES)
    place.guest.run(["pactl", "set-default-sink", theirs])
    yield
    place.guest.run(["pactl", "set-default-sink", ours])
    follower.kill()
    follower.wait()
