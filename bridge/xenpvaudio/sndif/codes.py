"""The words of sndif: operations, formats, statuses, XenStore keys. Pure; any thread.

Every number and string is read from Xen's public headers through the compiler
(`xenpvaudio_native.header`); the only things stated here are what the headers do not say: how many
bytes a sample takes, libxl's spelling of the float formats, and our extensions.
The packets that carry these words are in sndif/packets.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Literal

from xenpvaudio_native.header import offset, text, value

DRIVER_NAME = text("XENSND_DRIVER_NAME")
LIST_SEPARATOR = text("XENSND_LIST_SEPARATOR")
PROTOCOL_VERSION = value("XENSND_PROTOCOL_VERSION")
FORMAT_NAME_MAX_LEN = value("XENSND_SAMPLE_FORMAT_MAX_LEN")
RATE_MAX_LEN = value("XENSND_SAMPLE_RATE_MAX_LEN")
# sndif.h says that its pages are XEN_PAGE_SIZE, which no public header defines; this is the same.
PAGE_BYTES = value("XENSND_EVENT_PAGE_SIZE")

# Each side writes "1" into its own directory if it understands the position extension
# (PositionExt in sndif/packets.py); without both, those bytes stay reserved.
FEATURE_POSITION_EXT = "feature-position-ext"
# The same for the volume extension (sndif/volume_ext.py): the backend tells what the host changes.
FEATURE_VOLUME_EXT = "feature-volume-ext"
# The same for the liveness extension: this byte of each event page is 1 while the frontend lives.
FEATURE_LIVENESS_EXT = "feature-liveness-ext"
ALIVE_BYTE = offset("xensnd_event_page", "reserved")
# The availability extension: in the backend's directory, paths of streams that get nothing now.
UNAVAILABLE_STREAMS = "unavailable-streams"


class Operation(IntEnum):
    """Request codes (sndif.h REQUEST CODES)."""

    OPEN = value("XENSND_OP_OPEN")
    CLOSE = value("XENSND_OP_CLOSE")
    READ = value("XENSND_OP_READ")
    WRITE = value("XENSND_OP_WRITE")
    SET_VOLUME = value("XENSND_OP_SET_VOLUME")
    GET_VOLUME = value("XENSND_OP_GET_VOLUME")
    MUTE = value("XENSND_OP_MUTE")
    UNMUTE = value("XENSND_OP_UNMUTE")
    TRIGGER = value("XENSND_OP_TRIGGER")
    HW_PARAM_QUERY = value("XENSND_OP_HW_PARAM_QUERY")


class Trigger(IntEnum):
    """What XENSND_OP_TRIGGER asks for."""

    START = value("XENSND_OP_TRIGGER_START")
    PAUSE = value("XENSND_OP_TRIGGER_PAUSE")
    STOP = value("XENSND_OP_TRIGGER_STOP")
    RESUME = value("XENSND_OP_TRIGGER_RESUME")


class Event(IntEnum):
    """Event codes (sndif.h EVENT CODES)."""

    CUR_POS = value("XENSND_EVT_CUR_POS")


class Direction(StrEnum):
    """The value of a stream's `type` node, seen from the guest."""

    PLAYBACK = text("XENSND_STREAM_TYPE_PLAYBACK")
    CAPTURE = text("XENSND_STREAM_TYPE_CAPTURE")


class Key(StrEnum):
    """Names of sndif's XenStore nodes."""

    VERSIONS = text("XENSND_FIELD_BE_VERSIONS")
    VERSION = text("XENSND_FIELD_FE_VERSION")
    SHORT_NAME = text("XENSND_FIELD_VCARD_SHORT_NAME")
    LONG_NAME = text("XENSND_FIELD_VCARD_LONG_NAME")
    DEVICE_NAME = text("XENSND_FIELD_DEVICE_NAME")
    TYPE = text("XENSND_FIELD_TYPE")
    UNIQUE_ID = text("XENSND_FIELD_STREAM_UNIQUE_ID")
    CHANNELS_MIN = text("XENSND_FIELD_CHANNELS_MIN")
    CHANNELS_MAX = text("XENSND_FIELD_CHANNELS_MAX")
    SAMPLE_RATES = text("XENSND_FIELD_SAMPLE_RATES")
    SAMPLE_FORMATS = text("XENSND_FIELD_SAMPLE_FORMATS")
    BUFFER_SIZE = text("XENSND_FIELD_BUFFER_SIZE")
    RING_REF = text("XENSND_FIELD_RING_REF")
    EVENT_CHANNEL = text("XENSND_FIELD_EVT_CHNL")
    EVT_RING_REF = text("XENSND_FIELD_EVT_RING_REF")
    EVT_EVENT_CHANNEL = text("XENSND_FIELD_EVT_EVT_CHNL")


class Status(IntEnum):
    """A response's status: OK or minus one of <xen/errno.h>'s codes."""

    OK = 0
    EPERM = -value("XEN_EPERM")
    ENOENT = -value("XEN_ENOENT")
    ESRCH = -value("XEN_ESRCH")
    EIO = -value("XEN_EIO")
    ENXIO = -value("XEN_ENXIO")
    E2BIG = -value("XEN_E2BIG")
    ENOEXEC = -value("XEN_ENOEXEC")
    EBADF = -value("XEN_EBADF")
    ECHILD = -value("XEN_ECHILD")
    EAGAIN = -value("XEN_EAGAIN")
    EWOULDBLOCK = -value("XEN_EWOULDBLOCK")
    ENOMEM = -value("XEN_ENOMEM")
    EACCES = -value("XEN_EACCES")
    EFAULT = -value("XEN_EFAULT")
    EBUSY = -value("XEN_EBUSY")
    EEXIST = -value("XEN_EEXIST")
    EXDEV = -value("XEN_EXDEV")
    ENODEV = -value("XEN_ENODEV")
    ENOTDIR = -value("XEN_ENOTDIR")
    EISDIR = -value("XEN_EISDIR")
    EINVAL = -value("XEN_EINVAL")
    ENFILE = -value("XEN_ENFILE")
    EMFILE = -value("XEN_EMFILE")
    ENOSPC = -value("XEN_ENOSPC")
    EROFS = -value("XEN_EROFS")
    EMLINK = -value("XEN_EMLINK")
    EDOM = -value("XEN_EDOM")
    ERANGE = -value("XEN_ERANGE")
    EDEADLK = -value("XEN_EDEADLK")
    EDEADLOCK = -value("XEN_EDEADLOCK")
    ENAMETOOLONG = -value("XEN_ENAMETOOLONG")
    ENOLCK = -value("XEN_ENOLCK")
    ENOSYS = -value("XEN_ENOSYS")
    ENOTEMPTY = -value("XEN_ENOTEMPTY")
    ENODATA = -value("XEN_ENODATA")
    ETIME = -value("XEN_ETIME")
    EBADMSG = -value("XEN_EBADMSG")
    EOVERFLOW = -value("XEN_EOVERFLOW")
    EILSEQ = -value("XEN_EILSEQ")
    ENOTSOCK = -value("XEN_ENOTSOCK")
    EMSGSIZE = -value("XEN_EMSGSIZE")
    EOPNOTSUPP = -value("XEN_EOPNOTSUPP")
    EADDRINUSE = -value("XEN_EADDRINUSE")
    EADDRNOTAVAIL = -value("XEN_EADDRNOTAVAIL")
    ENOBUFS = -value("XEN_ENOBUFS")
    EISCONN = -value("XEN_EISCONN")
    ENOTCONN = -value("XEN_ENOTCONN")
    ETIMEDOUT = -value("XEN_ETIMEDOUT")
    ECONNREFUSED = -value("XEN_ECONNREFUSED")


def status_name(status: int) -> str:
    """A status for people. Peers send foreign codes too (snd_be: PulseAudio's own): no error."""
    try:
        known = Status(status)
    except ValueError:
        return f"unknown status {status}"
    return "OK" if known is Status.OK else f"-XEN_{known.name}"


class PcmFormat(IntEnum):
    """Sample formats (sndif.h PCM FORMATS); the value is also the bit in a query's mask."""

    S8 = value("XENSND_PCM_FORMAT_S8")
    U8 = value("XENSND_PCM_FORMAT_U8")
    S16_LE = value("XENSND_PCM_FORMAT_S16_LE")
    S16_BE = value("XENSND_PCM_FORMAT_S16_BE")
    U16_LE = value("XENSND_PCM_FORMAT_U16_LE")
    U16_BE = value("XENSND_PCM_FORMAT_U16_BE")
    S24_LE = value("XENSND_PCM_FORMAT_S24_LE")
    S24_BE = value("XENSND_PCM_FORMAT_S24_BE")
    U24_LE = value("XENSND_PCM_FORMAT_U24_LE")
    U24_BE = value("XENSND_PCM_FORMAT_U24_BE")
    S32_LE = value("XENSND_PCM_FORMAT_S32_LE")
    S32_BE = value("XENSND_PCM_FORMAT_S32_BE")
    U32_LE = value("XENSND_PCM_FORMAT_U32_LE")
    U32_BE = value("XENSND_PCM_FORMAT_U32_BE")
    F32_LE = value("XENSND_PCM_FORMAT_F32_LE")
    F32_BE = value("XENSND_PCM_FORMAT_F32_BE")
    F64_LE = value("XENSND_PCM_FORMAT_F64_LE")
    F64_BE = value("XENSND_PCM_FORMAT_F64_BE")
    IEC958_SUBFRAME_LE = value("XENSND_PCM_FORMAT_IEC958_SUBFRAME_LE")
    IEC958_SUBFRAME_BE = value("XENSND_PCM_FORMAT_IEC958_SUBFRAME_BE")
    MU_LAW = value("XENSND_PCM_FORMAT_MU_LAW")
    A_LAW = value("XENSND_PCM_FORMAT_A_LAW")
    IMA_ADPCM = value("XENSND_PCM_FORMAT_IMA_ADPCM")
    MPEG = value("XENSND_PCM_FORMAT_MPEG")
    GSM = value("XENSND_PCM_FORMAT_GSM")

    @property
    def xenstore_name(self) -> str:
        """The header's spelling, for `sample-formats`."""
        return text(f"XENSND_PCM_FORMAT_{self.name}_STR")

    @property
    def sample_bytes(self) -> int | None:
        """Bytes that one sample takes in the buffer; None if samples have no whole bytes.

        24 bits travel in the low three of four bytes, as in the kernel's frontend, which maps
        these formats to ALSA's of the same name.
        """
        return _SAMPLE_BYTES.get(self)

    @property
    def silence(self) -> bytes:
        """One silent sample: zero, the middle of an unsigned range, or what a law calls zero."""
        data = bytearray(self.sample_bytes or 0)
        if self.name.endswith("_LAW"):
            data[0] = 0x7F if self is PcmFormat.MU_LAW else 0x55
        elif self.name.startswith("U"):
            bits = int(self.name[1:].partition("_")[0])
            order: Literal["little", "big"] = "big" if self.name.endswith("_BE") else "little"
            data[:] = (1 << (bits - 1)).to_bytes(len(data), order)
        return bytes(data)

    @property
    def mask(self) -> int:
        return 1 << self


_SAMPLE_BYTES: Mapping[PcmFormat, int] = MappingProxyType(
    {
        **dict.fromkeys((PcmFormat.S8, PcmFormat.U8, PcmFormat.MU_LAW, PcmFormat.A_LAW), 1),
        **dict.fromkeys(
            (PcmFormat.S16_LE, PcmFormat.S16_BE, PcmFormat.U16_LE, PcmFormat.U16_BE), 2
        ),
        **dict.fromkeys(
            (PcmFormat.S24_LE, PcmFormat.S24_BE, PcmFormat.U24_LE, PcmFormat.U24_BE), 4
        ),
        **dict.fromkeys(
            (PcmFormat.S32_LE, PcmFormat.S32_BE, PcmFormat.U32_LE, PcmFormat.U32_BE), 4
        ),
        **dict.fromkeys((PcmFormat.F32_LE, PcmFormat.F32_BE), 4),
        **dict.fromkeys((PcmFormat.F64_LE, PcmFormat.F64_BE), 8),
        **dict.fromkeys((PcmFormat.IEC958_SUBFRAME_LE, PcmFormat.IEC958_SUBFRAME_BE), 4),
    }
)

# Names as XenStore may hold them. libxl spells floats as the header's macros do (f32_le), the
# header as ALSA does (float_le): both are read, the header's is written.
FORMAT_BY_NAME: Mapping[str, PcmFormat] = MappingProxyType(
    {
        **{name: PcmFormat[name.upper()] for name in ("f32_le", "f32_be", "f64_le", "f64_be")},
        **{fmt.xenstore_name: fmt for fmt in PcmFormat},
    }
)


def formats_mask(formats: Iterable[PcmFormat]) -> int:
    """The `formats` field of a query: bitwise OR of 1 << format."""
    mask = 0
    for fmt in formats:
        mask |= fmt.mask
    return mask


def formats_in(mask: int) -> Iterator[PcmFormat]:
    """The known formats of a mask, lowest number first; bits without a format are skipped."""
    return (fmt for fmt in PcmFormat if mask & fmt.mask)


# Formats that have frames: only these can be opened here.
FRAMED_FORMATS = formats_mask(fmt for fmt in PcmFormat if fmt.sample_bytes is not None)
