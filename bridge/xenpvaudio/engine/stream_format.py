"""A negotiated Config as the data plane wants it: values only, but of the native package."""

from __future__ import annotations

from xenpvaudio.sndif.codes import PcmFormat
from xenpvaudio.sndif.hwparams import Config
from xenpvaudio_native.plane import StreamFormat

# Those in which the loopback's gain can be computed, and floats (abi/native.cdef.h, XPA_SAMPLE_*).
_KINDS = {
    PcmFormat.S16_LE: 1,
    PcmFormat.S32_LE: 2,
    PcmFormat.F32_LE: 3,
    PcmFormat.F32_BE: 4,
    PcmFormat.F64_LE: 5,
    PcmFormat.F64_BE: 6,
}


def stream_format(config: Config, address: int) -> StreamFormat:
    """`config` for the data loop, its buffer mapped at `address`."""
    return StreamFormat(
        format=config.format,
        rate=config.rate,
        channels=config.channels,
        sample_bytes=config.format.sample_bytes or 0,
        silence=config.format.silence,
        buffer_frames=config.buffer_frames,
        period_frames=config.period_frames,
        address=address,
        sample_kind=_KINDS.get(config.format, 0),
    )
