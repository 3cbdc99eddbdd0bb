"""Speech-like sound from a seed: what the demo plays when it is given no file. Pure.

Two voices take turns with phrases of syllables. A voice is a source and a filter: glottal pulses
(Rosenberg's shape) through three formant resonators in a row, and hiss through one of its own for
the consonants before vowels. All that changes slowly is laid down first, in control steps of 5 ms.

A measuring signal too: a pseudo-random tail of the lowest bits, different in each channel, makes
each frame differ from the one before it, none silent, and every short run of frames unique, so that
a frame lost, repeated, or with its channels swapped is seen even in the pauses.
"""

from __future__ import annotations

import math
import random
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

PEAK = 16422  # -6 dBFS
# 78 dB below full scale, and enough of them for short runs to be unique.
_TAILS = (-4, -3, -2, -1, 1, 2, 3, 4)

_STEP_SEC = 0.005
# Formants of a man's vowels, Hz.
_VOWELS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (290, 2250, 2950),
    "o": (500, 880, 2420),
    "u": (320, 900, 2250),
}
_BANDWIDTHS = (70, 100, 160)
_HISS_HZ, _HISS_BANDWIDTH = 4200, 1500


@dataclass(frozen=True, slots=True)
class _Voice:
    pitch_hz: float
    formant_scale: float  # a shorter throat has higher formants


_VOICES = (_Voice(112, 1.0), _Voice(205, 1.16))


@dataclass(frozen=True, slots=True)
class _Control:
    """What holds for one control step; levels are reached at its end."""

    pitch_hz: float
    formants: tuple[float, ...]
    voiced: float
    hiss: float


def speech_bytes(
    seconds: float = 5.0, rate: int = 48000, channels: int = 2, *, seed: int = 1
) -> bytes:
    """round(seconds * rate) frames of interleaved s16, little-endian; the same for a seed.

    The peak is at -6 dBFS in the first channel, a little less in each further one.
    """
    frames = round(seconds * rate)
    chance = random.Random(seed)
    wave = _synthesize(frames, rate, chance)
    scale = (PEAK - max(_TAILS)) / max(max(wave, default=0.0), -min(wave, default=0.0), 1e-9)
    samples = array("h", bytes(2 * frames * channels))
    for channel in range(channels):
        level = scale * (1 - 0.03 * channel / channels)
        tails = [_TAILS[byte & 7] for byte in chance.randbytes(frames)]
        track = [int(value * level) + tail for value, tail in zip(wave, tails, strict=True)]
        if channel == 0:
            _tell_apart(track)
        samples[channel::channels] = array("h", track)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _tell_apart(track: list[int]) -> None:
    """No sample is 0 or the same as the one before it."""
    before = 0
    for number, value in enumerate(track):
        if value in (0, before):
            value = next(near for near in (value + 1, value + 2) if near not in (0, before))
            track[number] = value
        before = value


# --- what is said ---------------------------------------------------------------------------------


def _controls(chance: random.Random) -> Iterator[_Control]:
    """Phrases for ever, the voices in turn."""
    yield from _pause(0.06)
    while True:
        for voice in _VOICES:
            syllables = chance.randint(4, 7)
            for number in range(syllables):
                # The pitch falls over a phrase; the last syllable is long.
                pitch = voice.pitch_hz * (1.18 - 0.35 * number / syllables + chance.uniform(0, 0.1))
                length = chance.uniform(0.13, 0.21) * (1.4 if number == syllables - 1 else 1)
                yield from _syllable(voice, pitch, length, chance)
            yield from _pause(chance.uniform(0.25, 0.4))


def _pause(seconds: float) -> Iterator[_Control]:
    for _ in range(round(seconds / _STEP_SEC)):
        yield _Control(100, _VOWELS["a"], 0, 0)


def _syllable(
    voice: _Voice, pitch_hz: float, seconds: float, chance: random.Random
) -> Iterator[_Control]:
    """A consonant, perhaps of hiss, then a vowel that the formants glide into and out of."""
    vowel = [hz * voice.formant_scale for hz in _VOWELS[chance.choice("aeiou")]]
    # Nearly closed lips: all formants are low.
    closed = [hz * chance.uniform(0.6, 0.85) for hz in vowel]
    if chance.random() < 0.5:
        hiss_steps = round(chance.uniform(0.05, 0.09) / _STEP_SEC)
        for step in range(hiss_steps):
            level = 0.25 * math.sin(math.pi * (step + 1) / (hiss_steps + 1))
            yield _Control(pitch_hz, tuple(closed), 0, level)
    loudness = chance.uniform(0.7, 1.0)
    steps = round(seconds / _STEP_SEC)
    for step in range(steps):
        part = (step + 1) / steps
        openness = math.sin(math.pi * part) ** 0.5 if part < 1 else 0.0
        formants = tuple(c + (v - c) * openness for c, v in zip(closed, vowel, strict=True))
        bend = 1 + 0.06 * math.sin(math.pi * part)
        yield _Control(pitch_hz * bend, formants, loudness * openness, 0)


# --- source and filter ----------------------------------------------------------------------------


def _pulse_table() -> list[float]:
    """One period of Rosenberg's glottal flow, differentiated: open 40 %, closing 16 %, closed."""
    size = 1024
    rise, fall = 0.4 * size, 0.16 * size
    flow = []
    for number in range(size + 1):
        if number < rise:
            flow.append(0.5 - 0.5 * math.cos(math.pi * number / rise))
        elif number < rise + fall:
            flow.append(math.cos(0.5 * math.pi * (number - rise) / fall))
        else:
            flow.append(0.0)
    return [(after - before) * 100 for before, after in pairwise(flow)]


def _resonator(hz: float, bandwidth: float, rate: int) -> tuple[float, float, float]:
    """Coefficients of y = a x + b y' + c y'', with gain 1 at 0 Hz.

    A resonance that the rate cannot carry lets everything pass.
    """
    if hz + bandwidth > 0.45 * rate:
        return 1.0, 0.0, 0.0
    radius = math.exp(-math.pi * bandwidth / rate)
    b = 2 * radius * math.cos(2 * math.pi * hz / rate)
    c = -radius * radius
    return 1 - b - c, b, c


def _synthesize(frames: int, rate: int, chance: random.Random) -> list[float]:
    pulse = _pulse_table()
    size = len(pulse)
    step_frames = max(round(_STEP_SEC * rate), 1)
    out: list[float] = []
    phase = voiced = hiss = 0.0
    p1 = p2 = q1 = q2 = r1 = r2 = n1 = n2 = 0.0
    _, nb, nc = _resonator(_HISS_HZ, _HISS_BANDWIDTH, rate)
    controls = _controls(chance)
    noise = random.Random(chance.random()).random
    while len(out) < frames:
        control = next(controls)
        advance = size * control.pitch_hz / rate
        (pa, pb, pc), (qa, qb, qc), (ra, rb, rc) = (
            _resonator(hz, bandwidth, rate)
            for hz, bandwidth in zip(control.formants, _BANDWIDTHS, strict=True)
        )
        voiced_step = (control.voiced - voiced) / step_frames
        hiss_step = (control.hiss - hiss) / step_frames
        for _ in range(step_frames):
            voiced += voiced_step
            phase += advance
            if phase >= size:
                phase -= size
            p = pa * voiced * pulse[int(phase)] + pb * p1 + pc * p2
            q = qa * p + qb * q1 + qc * q2
            r = ra * q + rb * r1 + rc * r2
            p2, p1, q2, q1, r2, r1 = p1, p, q1, q, r1, r
            out.append(r)
        if hiss or control.hiss:
            for number in range(len(out) - step_frames, len(out)):
                hiss += hiss_step
                n = hiss * (noise() - 0.5) + nb * n1 + nc * n2
                n2, n1 = n1, n
                out[number] += n
        voiced, hiss = control.voiced, control.hiss
    return out[:frames]
