"""Where silence begins and ends in a signal; silence is a frame that repeats. Pure."""

from __future__ import annotations

MAX_STEP_FRAMES = 1 << 16


def find_silence(signal: bytes, silence: bytes, offset: int) -> int:
    """Offset of the next silent frame, or the signal's end."""
    width = len(silence)
    while (hit := signal.find(silence, offset)) >= 0:
        if hit % width == 0:
            return hit
        offset = hit + width - hit % width
    return len(signal)


def silence_end(signal: bytes, silence: bytes, offset: int) -> int:
    """Where the silence that begins at `offset` ends, if any does: steps double, then halve."""
    step, growing = silence, True
    while len(step) >= len(silence):
        if signal.startswith(step, offset):
            offset += len(step)
            growing = growing and len(step) < len(silence) * MAX_STEP_FRAMES
            step = step * 2 if growing else step
        else:
            growing = False
            step = step[: len(step) // 2]
    return offset


def silence_start(signal: bytes, silence: bytes, floor: int) -> int:
    """Where the silence at the signal's end begins, at `floor` at the earliest."""
    width = len(silence)
    end = len(signal)
    while end > floor and signal.endswith(silence, floor, end):
        end -= width
    return end
