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
    `silenced`: by the host's order, which the guest neither sees nor lifts."""

    def __init__(self, channels: int, *, silenced: bool = False) -> None:
        self.steps = [0] * channels
        self.muted = [False] * channels
        self.silenced = silenced

    def amplitudes(self) -> list[float]:
        """What to set on the host, a value a channel; a muted channel is silent."""
        return [
            0.0 if muted else to_linear(steps)
            for steps, muted in zip(self.steps, self.muted, strict=True)
        ]

    @property
    def all_muted(self) -> bool:
        return self.silenced or all(self.muted)

    def set_steps(self, steps: Sequence[int]) -> None:
        self.steps = list(steps)

    def set_muted(self, channels: Sequence[bool], muted: bool) -> None:
        self.muted = [
            muted if chosen else before for chosen, before in zip(channels, self.muted, strict=True)
        ]

    def host_changed(self, linear: Sequence[float]) -> None:
        """Somebody moved the host's slider: what the guest reads follows. A step that still means
        the same amplitude stays, so a guest reads back exactly what it wrote."""
        for channel, value in enumerate(linear[: len(self.steps)]):
            if self.muted[channel] and value == 0:
                continue
            if abs(value - to_linear(self.steps[channel])) > 1e-4 * max(value, 1e-3):
                self.steps[channel] = to_steps(value)
