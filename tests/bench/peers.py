"""PipeWire's own virtual devices, measured as ours are: same probe, same analysis.

What is true of each is defined by what it is, with no part of it left out:

null sink         has no device: a frame is heard where its monitor gives it out. The probe captures
                  the monitor, and between the two lies no path (0 frames).
pipe-tunnel       plays into a FIFO. FifoDevice is the device behind it: it takes frames at its own
                  rate, and a frame is heard at the moment that its schedule says. Like a sound card
                  with a double buffer it begins when two quanta lie there (and 10 ms, for late
                  cycles). It captures what it plays, with marks that are true, so again no path.
module-loopback   plays what its sink got from its source. All the time between is its own (0 frames
                  of path), with `target.delay.sec` too: that is the buffer it was told to keep.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import struct
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np

from bench.meter import joined
from xenpvaudio.measure.correlate import DelayTrack
from xenpvaudio.measure.duplex import TAIL_SEC, run_duplex
from xenpvaudio.measure.timing import Timing, Truth, analyse
from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.loudspeaker import PIPE_BYTES
from xenpvaudio.testbed.noise_player import PEAK, noise
from xenpvaudio.testbed.session import PipeWireSession

RATE = 48000
CHANNELS = 2
FRAME_BYTES = 4 * CHANNELS
NULL = "peer-null"
PIPE = "peer-pipe"
LOOP = "peer-loop"
SLOW_LOOP = "peer-slow-loop"
SLOW_LOOP_SEC = 0.04
TICK_FRAMES = 48
MARGIN_FRAMES = 480


def loopback(name: str, delay_sec: float = 0.0) -> str:
    """A fragment: libpipewire-module-loopback as a sink `name` and a source `name`-mic."""
    return f"""\
context.modules = [
  {{ name = libpipewire-module-loopback
    args = {{
      audio.position = [ FL FR ]
      target.delay.sec = {delay_sec}
      capture.props = {{ node.name = {name} media.class = Audio/Sink }}
      playback.props = {{ node.name = {name}-mic media.class = Audio/Source }}
    }}
  }}
]
"""


class FifoDevice(threading.Thread):
    """Takes TICK_FRAMES every so often, by a clock that is fast by `ppm`. What is missing when
    they are due is silence, and an underrun. `marks`: as probe.Measurement's, true ones."""

    def __init__(self, fd: int, quantum: int, ppm: float) -> None:
        super().__init__(daemon=True)
        self._fd = fd
        self._need_bytes = (2 * quantum + MARGIN_FRAMES) * FRAME_BYTES
        self._nsec_per_frame = 1e9 / (RATE * (1 + ppm * 1e-6))
        self._stop_it = threading.Event()
        self.marks: list[list[int]] = []
        self.samples = bytearray()
        self.start()

    def _waiting_bytes(self) -> int:
        room = fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4))
        return int(struct.unpack("i", room)[0])

    def run(self) -> None:
        # without this right a late tick may find too little, which shows as a step
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(40))
        while self._waiting_bytes() < self._need_bytes:
            if self._stop_it.wait(0.001):
                return
        origin = time.monotonic_ns()
        ticks = 0
        while not self._stop_it.is_set():
            frame = ticks * TICK_FRAMES
            due = origin + round(frame * self._nsec_per_frame)
            if (left := due - time.monotonic_ns()) > 0:
                time.sleep(left * 1e-9)
            wanted = TICK_FRAMES * FRAME_BYTES
            found = os.read(self._fd, min(wanted, self._waiting_bytes() // 8 * 8) or 0)
            self.samples += found + bytes(wanted - len(found))
            self.marks.append([frame, due, due])
            ticks += 1

    def finish(self) -> array.array[float]:
        """What it played, the mean of its channels."""
        self._stop_it.set()
        self.join()
        samples = np.frombuffer(bytes(self.samples), dtype=np.float32).reshape(-1, CHANNELS)
        return array.array("f", samples.sum(axis=1).astype(np.float32).tobytes())


class Peers:
    """All of them in one session, as a context manager; each is idle while another is measured."""

    def __init__(self, directory: Path, quantum: int) -> None:
        self.quantum = quantum
        fifo = directory / "peer.fifo"
        os.mkfifo(fifo)
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.fcntl(self._fifo, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.session = PipeWireSession(
            directory / "peers",
            name="peers",
            rate=RATE,
            quantum=quantum,
            max_quantum=quantum,
            fragments=[
                pwconf.null_sink(NULL),
                pwconf.pipe_sink(fifo, PIPE, rate=RATE),
                loopback(LOOP),
                loopback(SLOW_LOOP, SLOW_LOOP_SEC),
            ],
        )

    def __enter__(self) -> Peers:
        self.session.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.session.stop()
        os.close(self._fifo)

    def duplex(self, sink: str, source: str, seconds: float) -> Timing:
        """Of a sink whose sound comes back from `source` in the same graph; if that is the sink,
        from its monitor."""
        run = run_duplex(
            {**self.session.env, **joined(sink, source)},
            sink=sink,
            source=source,
            rate=RATE,
            quantum_frames=self.quantum,
            seconds=seconds,
            separate=True,  # the environment joins them
        )
        return judge(run.play_marks, run.capture_marks, run.captured, seconds, Truth(0, 0))

    def pipe(self, seconds: float, ppm: float) -> Timing:
        """Of pipe-tunnel with a device whose clock is fast by `ppm`."""
        while True:  # what an earlier measurement left there
            try:
                os.read(self._fifo, PIPE_BYTES)
            except BlockingIOError:
                break
        device = FifoDevice(self._fifo, self.quantum, ppm)
        command = [sys.executable, "-m", "xenpvaudio.testbed.noise_player", "--target", PIPE]
        command += ["--rate", str(RATE), "--quantum", str(self.quantum)]
        command += ["--frames", str(round(seconds * RATE))]
        done = self.session.run(command, capture_output=True, text=True)
        time.sleep(TAIL_SEC / 2)
        heard = device.finish()
        marks = json.loads(done.stdout)["marks"]
        return judge(marks, device.marks, heard, seconds, Truth(0, ppm))


def judge(
    play: list[list[int]],
    capture: list[list[int]],
    captured: array.array[float],
    seconds: float,
    truth: Truth,
) -> Timing:
    """What `xen-pv-audio latency` would say of this run of the probe."""
    sent = np.array(noise(round(seconds * RATE), 1, peak=PEAK), dtype=np.float64)
    track = DelayTrack(sent, np.array(captured, dtype=np.float64))
    found = analyse(play, capture, track, RATE, truth=truth)
    assert found is not None, "the noise did not come back"
    return found[0]
