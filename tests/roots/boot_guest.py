"""A guest of the host that boot.py boots: speech through its own PipeWire to the loudspeaker of the
host's PipeWire, which serves the whole system.

Run in there by the packages' Python, as the user of the system's backend; prints one JSON object:
how many frames were sent, and whether they were heard bit-exact.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time

FIFO = "/run/xpa-loudspeaker"
SIMULATION = "/run/xen-sim"
SECONDS, DRAIN_SEC = 8, 2.0  # long enough to be asked about meanwhile
LIMIT_SEC = 120  # of a busy machine: for who waits at a FIFO that nobody writes to


class Heard:
    """What the loudspeaker's FIFO brings, from now on."""

    def __init__(self) -> None:
        from xenpvaudio.testbed.loudspeaker import PIPE_BYTES

        self._data = bytearray()
        fd = os.open(FIFO, os.O_RDONLY)  # PipeWire has it open
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        threading.Thread(target=self._run, args=(fd,), daemon=True).start()

    def _run(self, fd: int) -> None:
        while chunk := os.read(fd, 1 << 18):
            self._data += chunk

    def frames(self, frame_bytes: int) -> bytes:
        return bytes(self._data[: len(self._data) // frame_bytes * frame_bytes])


def main() -> int:
    from xenpvaudio.sound.compare import compare
    from xenpvaudio.sound.speech import speech_bytes
    from xenpvaudio.sound.wav import read_wav, to_float32, write_wav
    from xenpvaudio.testbed.testbed import GUEST_DOMID, GUEST_NAME, SINK, Testbed, card_nodes
    from xenpvaudio.xen.sim.toolstack import Toolstack
    from xenpvaudio_native.pipewire import library_version

    class Guest(Testbed):
        """A test bed whose host half is not its own."""

        def _start(self) -> Testbed:
            self.guest.start()
            (self.directory / "xen").symlink_to(SIMULATION)
            self.toolstack = Toolstack(SIMULATION)
            self.toolstack.create_domain(GUEST_DOMID, GUEST_NAME)
            self.toolstack.attach_vsnd(GUEST_DOMID, 0, self.nodes)
            self.start_frontend()
            return self

    signal.alarm(LIMIT_SEC)
    heard = Heard()
    with Guest(card_nodes(formats=("s16_le",), capture=False), host_environ={}) as guest:
        files = [guest.directory / name for name in ("speech.wav", "padded.wav")]
        speech = speech_bytes(SECONDS, 48000, 2)
        for file, data in zip(files, (speech, speech + bytes(4 * 24000)), strict=True):
            write_wav(file, 48000, 2, "s16", data)
        guest.wait_for_node()
        play = ["pw-play", "--target", SINK, str(files[1])]
        done: subprocess.CompletedProcess[str] = guest.guest.run(
            play, capture_output=True, text=True, check=False
        )
        time.sleep(DRAIN_SEC)
        sent = to_float32(read_wav(files[0]), library_version()).tobytes()
        found = compare(sent, heard.frames(8), 8, bytes(8))
        log = guest.log("frontend")
    told = {
        "frames": found.frames_sent,
        "received": found.matched,
        "bit_exact": found.bit_exact,
        "played": done.returncode,
        "log": log[-1000:] if not found.bit_exact else "",
    }
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
