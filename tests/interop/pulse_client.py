"""A client of PulseAudio (libpulse) that writes down what it is told of latency.

`python pulse_client.py SINK QUANTUM SECONDS` plays probe.noise (32-bit float, stereo, 48 kHz) to
the sink, asks for fresh timing and pa_stream_get_latency() at random moments of the graph's cycle,
and prints marks as the native probe does: [frame, now, when that frame will be heard], in ns.
With a fourth word, a file, it records from a source instead, and its marks say when a frame was at
the microphone; the file holds what was recorded.
Without PA_STREAM_INTERPOLATE_TIMING: libpulse's smoother takes longer than a test to settle, and
settles on the mean of the same answers.
"""

from __future__ import annotations

import ctypes
import json
import random
import sys
import time
from collections.abc import Callable

from xenpvaudio.testbed.noise_player import noise

RATE = 48000
CHANNELS = 2
FRAME_BYTES = 4 * CHANNELS
FLOAT32LE = 5  # enum pa_sample_format (pulse/sample.h)
ADJUST_LATENCY = 0x2000  # enum pa_stream_flags (pulse/def.h)
CONTEXT_READY, STREAM_READY = 4, 2  # enum pa_context_state, pa_stream_state
RUNNING = 0  # enum pa_operation_state
ANY = 0xFFFFFFFF
LIMIT_SEC = 20.0
ASK_SEC = (0.005, 0.045)


class SampleSpec(ctypes.Structure):
    """pa_sample_spec (pulse/sample.h)"""

    _fields_ = (
        ("format", ctypes.c_int),
        ("rate", ctypes.c_uint32),
        ("channels", ctypes.c_uint8),
    )


class BufferAttr(ctypes.Structure):
    """pa_buffer_attr (pulse/def.h), bytes"""

    _fields_ = tuple(
        (name, ctypes.c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")
    )


def load() -> ctypes.CDLL:
    library = ctypes.CDLL("libpulse.so.0")
    for name in (
        *("mainloop_new", "mainloop_get_api", "context_new"),
        *("stream_new", "stream_update_timing_info"),
    ):
        getattr(library, f"pa_{name}").restype = ctypes.c_void_p
    library.pa_stream_writable_size.restype = ctypes.c_size_t
    library.pa_stream_readable_size.restype = ctypes.c_size_t
    return library


class Client:
    """One stream; each method runs the main loop as long as it needs."""

    def __init__(self, device: str, quantum: int, *, records: bool = False) -> None:
        self._pa = load()
        self._loop = ctypes.c_void_p(self._pa.pa_mainloop_new())
        api = ctypes.c_void_p(self._pa.pa_mainloop_get_api(self._loop))
        context = ctypes.c_void_p(self._pa.pa_context_new(api, b"pulse-client"))
        self._pa.pa_context_connect(context, None, 0, None)
        self._until(lambda: self._pa.pa_context_get_state(context) == CONTEXT_READY, "connect")
        spec = SampleSpec(FLOAT32LE, RATE, CHANNELS)
        self._stream = ctypes.c_void_p(
            self._pa.pa_stream_new(context, b"noise", ctypes.byref(spec), None)
        )
        quantum_bytes = quantum * FRAME_BYTES
        wanted = BufferAttr(ANY, 4 * quantum_bytes, ANY, quantum_bytes, quantum_bytes)
        given = (self._stream, device.encode(), ctypes.byref(wanted), ADJUST_LATENCY)
        if records:
            self._pa.pa_stream_connect_record(*given)
        else:
            self._pa.pa_stream_connect_playback(*given, None, None)
        self._until(lambda: self._pa.pa_stream_get_state(self._stream) == STREAM_READY, "open")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + LIMIT_SEC
        while not condition():
            self.run()
            if time.monotonic() > deadline:
                sys.exit(f"pulse_client: cannot {what}")
            time.sleep(0.0002)

    def run(self) -> None:
        """What is due now."""
        while self._pa.pa_mainloop_iterate(self._loop, 0, None) > 0:
            pass

    def write(self, data: bytes) -> int:
        """As much as there is room for; returns bytes."""
        room = self._pa.pa_stream_writable_size(self._stream) // FRAME_BYTES * FRAME_BYTES
        piece = data[:room]
        if piece:
            self._pa.pa_stream_write(self._stream, piece, len(piece), None, 0, 0)
        return len(piece)

    def read(self) -> bytes:
        """What there is."""
        found, data = bytearray(), ctypes.c_void_p()
        size = ctypes.c_size_t()
        while self._pa.pa_stream_readable_size(self._stream) > 0:
            self._pa.pa_stream_peek(self._stream, ctypes.byref(data), ctypes.byref(size))
            found += ctypes.string_at(data, size.value) if data else bytes(size.value)
            self._pa.pa_stream_drop(self._stream)
        return bytes(found)

    def latency_usec(self) -> int | None:
        """Of the frame that is written, or read, next; None: not known yet."""
        operation = ctypes.c_void_p(self._pa.pa_stream_update_timing_info(self._stream, None, None))
        self._until(lambda: self._pa.pa_operation_get_state(operation) != RUNNING, "ask")
        self._pa.pa_operation_unref(operation)
        usec, negative = ctypes.c_uint64(), ctypes.c_int()
        result = self._pa.pa_stream_get_latency(
            self._stream, ctypes.byref(usec), ctypes.byref(negative)
        )
        if result < 0:
            return None
        return -usec.value if negative.value else usec.value


def record(source: str, quantum: int, seconds: float, file: str) -> None:
    client, data = Client(source, quantum, records=True), bytearray()
    moment = random.Random(1)
    marks, ask = [], time.monotonic() + 0.1
    while len(data) < seconds * RATE * FRAME_BYTES:
        client.run()
        data += client.read()
        if time.monotonic() >= ask:
            latency_usec = client.latency_usec()
            now = time.monotonic_ns()
            if latency_usec is not None:
                marks.append([len(data) // FRAME_BYTES, now, now - 1000 * latency_usec])
            ask = time.monotonic() + moment.uniform(*ASK_SEC)
        time.sleep(0.0005)
    with open(file, "wb") as target:
        target.write(data)
    print(json.dumps({"marks": marks}))


def main() -> int:
    sink, quantum, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    if len(sys.argv) > 4:
        record(sink, quantum, seconds, sys.argv[4])
        return 0
    samples = noise(round(seconds * RATE), CHANNELS).tobytes()
    client = Client(sink, quantum)
    moment = random.Random(1)
    marks, written, ask = [], 0, time.monotonic() + 0.1
    while written < len(samples):
        client.run()
        written += client.write(samples[written : written + (1 << 16)])
        if time.monotonic() >= ask:
            if (latency_usec := client.latency_usec()) is not None:
                now = time.monotonic_ns()
                marks.append([written // FRAME_BYTES, now, now + 1000 * latency_usec])
            ask = time.monotonic() + moment.uniform(*ASK_SEC)
        time.sleep(0.0005)
    time.sleep(4 * quantum / RATE)  # what was written last is still to be played
    print(json.dumps({"marks": marks}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
