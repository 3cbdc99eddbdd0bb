"""One run of PipeWire's echo canceller: far-end speech in, what its microphone hears and makes out.

All that works on sound is PipeWire's, in one process of its own for each run:

    player FL -> module-echo-cancel -> loudspeaker ... the loopback's delay ... microphone
    microphone -> filter-chain's convolver (the room) -> module-echo-cancel -> its source
    player FR (the near end) ----------------------------^

and a recorder with one channel for each of four points, so that they are aligned by construction.
A room after the microphone is the same as one before it: both it and the loopback are linear, and
neither changes in time.
"""

from __future__ import annotations

import array
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from xenpvaudio.errors import XenPvAudioError
from xenpvaudio.sound.wav import read_wav, to_float32
from xenpvaudio.testbed.pwconf import client, quote

from .duplex import graph_nodes

TRACKS = ("echo", "near", "out", "far")
"""What the recorder's channels are: the room's output, the near end, the canceller's, the far end
as the canceller plays it."""
_LIMIT_SEC = 10.0
_POLL_SEC = 0.05


@dataclass(frozen=True, slots=True)
class EchoPath:
    """Where the canceller plays and captures; monitor: `source` is a sink whose monitor it is."""

    sink: str
    source: str
    monitor: bool
    room: Path | None  # its impulse response as WAV; None: the room is real
    play_delay_frames: int = 0  # the canceller compares with what was played so long ago


def configuration(path: EchoPath) -> str:
    """A file for `pipewire -c`: a client process that holds room and canceller."""
    room = "/dirac" if path.room is None else str(path.room)
    monitor = "stream.capture.sink = true" if path.monitor else ""
    # room for the delay beside PipeWire's usual 100 ms
    buffer_msec = 100 + path.play_delay_frames // 48
    return client(f"""\
  {{ name = libpipewire-module-echo-cancel
    args = {{
      library.name = aec/libspa-aec-webrtc
      # a level that the canceller changes itself would count as cancelled or distorted
      aec.args = {{ webrtc.gain_control = false }}
      buffer.play_delay = {path.play_delay_frames}/48000
      buffer.max_size = {buffer_msec}
      audio.rate = 48000
      audio.channels = 1
      audio.position = [ MONO ]
      capture.props = {{ node.name = aec_capture node.autoconnect = false }}
      source.props = {{ node.name = aec_source }}
      sink.props = {{ node.name = aec_sink }}
      playback.props = {{ node.name = aec_playback target.object = {quote(path.sink)} }}
    }}
  }}
  {{ name = libpipewire-module-filter-chain
    args = {{
      audio.channels = 1
      audio.position = [ MONO ]
      filter.graph = {{
        nodes = [
          {{ type = builtin name = room label = convolver
            config = {{ filename = {quote(room)} }} }}
        ]
        inputs = [ "room:In" ]
        outputs = [ "room:Out" ]
      }}
      capture.props = {{
        node.name = aec_room_in
        target.object = {quote(path.source)}
        {monitor}
      }}
      playback.props = {{ node.name = aec_room_out node.autoconnect = false }}
    }}
  }}
""")


class _Session:
    """Processes in one session, ended with the run."""

    def __init__(self, env: Mapping[str, str], directory: Path) -> None:
        self.env = dict(env)
        self.directory = directory
        self.stack = ExitStack()

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        log = self.stack.enter_context((self.directory / f"{command[0]}.log").open("wb"))
        process = subprocess.Popen(
            command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self.stack.callback(_end, process)
        return process

    def link(self, output: str, to: str) -> None:
        """As soon as both ports are there."""
        deadline = time.monotonic() + _LIMIT_SEC
        while True:
            done = subprocess.run(
                ["pw-link", output, to], env=self.env, capture_output=True, text=True, check=False
            )
            if done.returncode == 0 or "File exists" in done.stderr:
                return
            if time.monotonic() > deadline:
                reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise XenPvAudioError(f"{output} cannot be linked to {to}: {reason}")
            time.sleep(_POLL_SEC)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_LIMIT_SEC)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def local_loudspeaker(env: Mapping[str, str]) -> Iterator[str]:
    """A null sink, whose monitor is its microphone, as long as this lasts; its name."""
    name = "aec_local_loudspeaker"
    keeper = subprocess.Popen(
        ["pw-cli"],
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert keeper.stdin is not None
        keeper.stdin.write(
            f"create-node adapter {{ factory.name=support.null-audio-sink node.name={name}"
            " media.class=Audio/Sink audio.channels=2 audio.position=[FL FR]"
            " monitor.channel-volumes=false priority.session=1 }\n".encode()
        )
        keeper.stdin.flush()
        deadline = time.monotonic() + _LIMIT_SEC
        while name not in graph_nodes(env):
            if time.monotonic() > deadline:
                raise XenPvAudioError("PipeWire makes no null sink")
            time.sleep(_POLL_SEC)
        yield name
    finally:
        keeper.kill()  # and its node goes with it
        keeper.wait()


def run_canceller(
    env: Mapping[str, str],
    directory: Path,
    path: EchoPath,
    sounds: Path,
    seconds: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> dict[str, array.array[float]]:
    """Plays `sounds` (left: far end, right: near end); what was recorded meanwhile, by TRACKS.

    meanwhile: called once, in the middle.
    """
    config = directory / "canceller.conf"
    config.write_text(configuration(path), encoding="utf-8")
    recording = directory / "recording.wav"
    session = _Session(env, directory)
    with session.stack:
        session.start("pipewire", "-c", str(config))
        session.link("aec_room_out:output_MONO", "aec_capture:input_MONO")
        recorder = session.start(
            "pw-record",
            *("--target", "0", "--rate", "48000", "--format", "f32", "--latency", "1024/48000"),
            *("--channels", "4", "--channel-map", "AUX0,AUX1,AUX2,AUX3", str(recording)),
        )
        for number, port in enumerate(
            ("aec_room_out:output_MONO", None, "aec_source:capture_MONO", "aec_playback:output_FL")
        ):
            if port is not None:
                session.link(port, f"pw-record:input_AUX{number}")
        time.sleep(0.5)  # what the devices do when they start is not what is measured
        player = session.start("pw-play", "--target", "0", str(sounds))
        session.link("pw-play:output_FR", "aec_capture:input_MONO")
        session.link("pw-play:output_FR", "pw-record:input_AUX1")
        session.link("pw-play:output_FL", "aec_sink:playback_MONO")
        time.sleep(seconds / 2)
        meanwhile()
        try:
            player.wait(2 * seconds + _LIMIT_SEC)
        except subprocess.TimeoutExpired:
            raise XenPvAudioError("the canceller's sink took no sound") from None
        time.sleep(0.3)
        _end(recorder)
    samples = to_float32(read_wav(recording))
    return {name: samples[number :: len(TRACKS)] for number, name in enumerate(TRACKS)}
