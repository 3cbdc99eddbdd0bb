"""sndif's volumes (steps of 0.001 dB, per channel) and mutes against linear amplitudes. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

STEPS_PER_DB = 1000
SILENT_STEPS = -200 * STEPS_PER_DB
"""What an amplitude of 0 reads as, and below which a volume is silence."""
LOUDEST_STEPS = 20 * STEPS_PER_DB
"""Nor is a route of our card louder (card/card.c). Who turns a host down means its guests, too."""
MOST_GIVEN = 4


def to_linear(steps: int) -> float:
    """Amplitude of a volume; 0 dB is 1.0, and louder than +20 dB is cut there."""
    if steps <= SILENT_STEPS:
        return 0.0
    return math.pow(10.0, min(steps, LOUDEST_STEPS) / STEPS_PER_DB / 20)


def to_steps(linear: float) -> int:
    """The nearest step."""
    if linear <= 0:
        return SILENT_STEPS
    return max(SILENT_STEPS, round(20 * STEPS_PER_DB * math.log10(linear)))


def _alike(linear: Sequence[float], others: Sequence[float]) -> bool:
    return len(linear) == len(others) and all(map(_same, linear, others))


def _same(value: float, other: float) -> bool:
    """As far as a host rounds."""
    return abs(value - other) <= 1e-4 * max(value, 1e-3)


class Mixer:
    """One stream's volumes and mutes as the guest set them, and what the host made of them.
    `silenced`: by the host's order, which no guest lifts."""

    def __init__(self, channels: int, *, silenced: bool = False) -> None:
        self.steps = [0] * channels
        self.muted = [False] * channels
        self.silenced = silenced
        self.by_hand = False
        """All of it is muted, by somebody in the host's mixer."""
        self.by_guest = False
        """It has set something: else the host's own memory of the stream counts."""
        self._given: deque[tuple[list[float], bool]] = deque(maxlen=MOST_GIVEN)
        """What the host has, and what it was given since and has not told of yet."""

    def amplitudes(self) -> list[float]:
        """What to set on the host, a value a channel. A muted channel is silent; if all are, the
        host's own mute says so, and the volumes stay what they are."""
        apart = not all(self.muted)
        return [
            0.0 if muted and apart else to_linear(steps)
            for steps, muted in zip(self.steps, self.muted, strict=True)
        ]

    @property
    def all_muted(self) -> bool:
        return self.silenced or all(self.muted)

    def taken(self) -> tuple[list[float], bool]:
        """amplitudes() and all_muted, which the host is given now."""
        self._given.append((self.amplitudes(), self.all_muted))
        return self._given[-1]

    def set_steps(self, steps: Sequence[int]) -> None:
        self.steps = list(steps)
        self.by_guest = True

    def set_muted(self, channels: Sequence[bool], muted: bool) -> None:
        self.muted = [
            muted if chosen else before for chosen, before in zip(channels, self.muted, strict=True)
        ]
        self.by_guest = True
        self.by_hand = False

    def host_changed(self, linear: Sequence[float], mute: bool) -> tuple[bool, bool]:
        """What the host tells that it has: whether somebody else set the volumes there, and the
        mute. What the guest reads follows. A step that still means the same amplitude stays, so a
        guest reads back exactly what it wrote."""
        given = self._given or [(self.amplitudes(), self.all_muted)]
        before, mute_before = given[-1]
        if _alike(linear, before) and mute == mute_before:
            self._has(linear, mute)
            return False, False
        moved = not any(_alike(linear, volumes) for volumes, _ in given)
        muted = mute not in (each for _, each in given)
        if not (moved or muted):
            return False, False  # it has not come to what it was given last
        if moved:
            apart = not all(self.muted)
            for channel, (value, old) in enumerate(zip(linear, before, strict=True)):
                if not _same(value, old):
                    self.steps[channel] = to_steps(value)
                    self.muted[channel] = self.muted[channel] and not apart
        if muted:
            self.muted = [mute] * len(self.muted)
            self.by_hand = mute
        self._has(linear, mute)
        return moved, muted

    def _has(self, linear: Sequence[float], mute: bool) -> None:
        self._given.clear()
        self._given.append((list(linear), mute))
