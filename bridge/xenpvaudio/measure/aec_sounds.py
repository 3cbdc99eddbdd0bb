"""What an echo check plays and the rooms that it plays in, from seeds. Needs numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xenpvaudio.sound.speech import speech_bytes
from xenpvaudio.sound.wav import write_wav

from .aec_analysis import Phases
from .correlate import Floats

ROOM_SEC = 0.1
# The direct sound's share; the rest decays by 60 dB in a quarter of a second, a small office.
_ECHOES_AFTER_SEC = 0.002
_DECAY_SEC = 0.25
_ECHO_LEVEL = 0.15
_NEAR_LEVEL = 0.3


def phases(seconds: float) -> Phases:
    """Half of the time the far end alone, a quarter both, a quarter the far end alone."""
    return Phases(0.5 * seconds, 0.75 * seconds, seconds)


def write_speech(path: Path, seconds: float, rate: int, *, near_delay_frames: int = 0) -> None:
    """Left: the far end; right: the near end, which speaks in the second phase only.

    near_delay_frames: so much later, as somebody would who answers what a later loudspeaker said.
    """
    far, near = (
        np.frombuffer(speech_bytes(seconds, rate, 1, seed=seed), "<i2").astype(np.float64)
        for seed in (1, 5)
    )
    plan = phases(seconds)
    near = near * _NEAR_LEVEL
    near[: round(plan.double_talk_sec * rate)] = 0
    near[round(plan.again_sec * rate) :] = 0
    near = np.roll(near, near_delay_frames)  # its end is silent
    both = np.stack([far, near], axis=1).astype("<i2")
    write_wav(path, rate, 2, "s16", both.tobytes())


def room_response(rate: int, *, gain: float = 1.0, delay_frames: int = 0) -> Floats:
    """A direct sound and decaying noise, of energy gain^2, after `delay_frames` of silence."""
    chance = np.random.default_rng(20120411)
    time = np.arange(round(ROOM_SEC * rate)) / rate
    response: Floats = _ECHO_LEVEL * chance.standard_normal(len(time))
    response *= 10 ** (-3 * time / _DECAY_SEC) * (time >= _ECHOES_AFTER_SEC)
    response[0] = 1.0
    response *= gain / float(np.sqrt(np.sum(response**2)))
    return np.concatenate([np.zeros(delay_frames), response])


def write_room(path: Path, response: Floats, rate: int) -> None:
    write_wav(path, rate, 1, "f32", response.astype("<f4").tobytes())
