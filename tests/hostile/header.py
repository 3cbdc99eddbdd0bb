"""sndif as the header has it (xen/io/sndif.h, xen/io/ring.h), laid out by hand: what a peer of this
folder writes comes from here, and from nothing of the project's own sndif code."""

from __future__ import annotations

import struct

PAGE = 4096
SLOT = 64

# struct xensnd_req: id, operation, 5 reserved octets, the operation's 56
REQUEST = struct.Struct("<HB5x56s")
# struct xensnd_resp: id, operation, a reserved octet, status, 56
RESPONSE = struct.Struct("<HBxi56s")
# struct xensnd_evt: id, type, 5 reserved octets, cur_pos.position
EVENT = struct.Struct("<HB5xQ")
# struct xensnd_open_req: rate, format, channels, reserved, buffer_sz, gref_directory, period_sz
OPEN_REQ = struct.Struct("<IBBHIII")
RW_REQ = struct.Struct("<II")
TRIGGER_REQ = struct.Struct("<B")
# struct xensnd_query_hw_param: formats; min and max of rates, channels, buffer, period
QUERY_REQ = struct.Struct("<Q8I")

OPEN, CLOSE, READ, WRITE, SET_VOLUME, GET_VOLUME, MUTE, UNMUTE, TRIGGER, QUERY = range(10)
START, PAUSE, STOP, RESUME = range(4)
S16_LE, F32_LE, F64_LE = 2, 14, 16
ALL = (0, 0xFFFFFFFF)

# The shared ring's words: req_prod, req_event, rsp_prod, rsp_event; slots from octet 64 on.
REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT = range(4)
RING_SLOTS = 32
# The event page's words: in_cons, in_prod, and the position extension's (packaging/doc) polled and
# filled; slots from octet 64 on.
IN_CONS, IN_PROD, POLLED, FILLED = 0, 1, 3, 4
EVENT_SLOTS = 63


def request(number: int, operation: int, body: bytes = b"") -> bytes:
    return REQUEST.pack(number & 0xFFFF, operation, body)


def open_body(
    directory: int,
    *,
    rate: int = 48000,
    sample_format: int = S16_LE,
    channels: int = 2,
    buffer_bytes: int = 16384,
    period_bytes: int = 2048,
) -> bytes:
    return OPEN_REQ.pack(rate, sample_format, channels, 0, buffer_bytes, directory, period_bytes)


def query_body(channels: tuple[int, int] = ALL, formats: int = (1 << 64) - 1) -> bytes:
    return QUERY_REQ.pack(formats, *ALL, *channels, *ALL, *ALL)
