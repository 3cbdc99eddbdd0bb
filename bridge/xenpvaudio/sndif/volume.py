"""sndif's volumes (steps of 0.001 dB, per channel) and mutes against linear amplitudes. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

STEPS_PER_DB = 1000
SILENT_STEPS = -200 * STEPS_PER_DB
"""What an amplitude of 0 reads as, and below which a volume is silence."""


def to_linear(steps: int) -> float:
    """Amplitude of a volume; 0 dB is 1.0, and louder than +40 dB is cut there."""
    if steps <= SILENT_STEPS:
        return 0.0
    return math.pow(10.0, min(steps, 40 * STEPS_PER_DB) / STEPS_PER_DB / 20)


def to_steps(linear: float) -> int:
    """The nearest step."""
    if linear <= 0:
        return SILENT_STEPS
    return max(SILENT_STEPS, round(20 * STEPS_PER_DB * math.log10(linear)))


class Mixer:
    """One stream's volumes and mutes as the guest set them, and what the host made of them.
    `silenced`: by the host's order, which no guest lifts."""

    def __init__(self, channels: int, *, silenced: bool = False) -> None:
        self.steps = [0] * channels
        self.muted = [False] * channels
        self.silenced = silenced
        self._host: tuple[list[float], bool] | None = None

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
        """amplitudes() and all_muted: the host has them from now on."""
        self._host = self.amplitudes(), self.all_muted
        return self._host

    def set_steps(self, steps: Sequence[int]) -> None:
        self.steps = list(steps)

    def set_muted(self, channels: Sequence[bool], muted: bool) -> None:
        self.muted = [
            muted if chosen else before for chosen, before in zip(channels, self.muted, strict=True)
        ]

    def host_changed(self, linear: Sequence[float], mute: bool) -> tuple[bool, bool]:
        """What the host has now: whether somebody else set the volumes there, and the mute. What
        the guest reads follows. A step that still means the same amplitude stays, so a guest reads
        back exactly what it wrote."""
        before, mute_before = self._host or (self.amplitudes(), self.all_muted)
        moved = [
            abs(value - old) > 1e-4 * max(value, 1e-3)
            for value, old in zip(linear, before, strict=True)
        ]
        apart = not all(self.muted)
        for channel in (number for number, other in enumerate(moved) if other):
            self.steps[channel] = to_steps(linear[channel])
            self.muted[channel] = self.muted[channel] and not apart
        if mute != mute_before:
            self.muted = [mute] * len(self.muted)
        self._host = list(linear), mute
        return any(moved), mute != mute_before
