"""The order of channels: WAV's is PipeWire's, sndif's is ALSA's (pw_module/src/pipewire/core.h)."""

from __future__ import annotations

# For each of ALSA's places, where that channel is in a WAV file; the same for up to 4 of them.
_ALSA = {
    6: (0, 1, 4, 5, 2, 3),
    8: (0, 1, 4, 5, 2, 3, 6, 7),
}


def to_alsa_order(data: bytes, channels: int, sample_bytes: int) -> bytes:
    """Interleaved samples of a WAV file, as an ALSA device takes them."""
    places = _ALSA.get(channels)
    if places is None:
        return data
    frame_bytes = channels * sample_bytes
    ordered = bytearray(len(data))
    for place, channel in enumerate(places):
        for byte in range(sample_bytes):
            source = data[channel * sample_bytes + byte :: frame_bytes]
            ordered[place * sample_bytes + byte :: frame_bytes] = source
    return bytes(ordered)
