"""`xen-pv-audio demo`: an ordinary application's sound through sndif, on this machine, without Xen.

The real pw-play plays into the guest's sink "Xen PV Audio"; what leaves the host's graph is
compared with the file, frame by frame. The host is the session that is running, so that the sound
is heard, or a private one whose loudspeaker is recorded; only there is the true delay measured, by
a probe that plays half a second of quiet noise first. A host without PipeWire is this machine's
PulseAudio server or sound device; in a guest without it aplay plays, or paplay to a PulseAudio
daemon there (demo_guests).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from xenpvaudio.errors import ConfigError, XenPvAudioError
from xenpvaudio.sound.channels import to_alsa_order
from xenpvaudio.sound.compare import Comparison, compare
from xenpvaudio.sound.speech import speech_bytes
from xenpvaudio.sound.wav import WavFile, read_wav, to_float32, write_wav
from xenpvaudio_native.pipewire import library_version

from .demo_guests import GUESTS, DemoGuest
from .machine import Machine
from .pwconf import POSITIONS
from .testbed import card_nodes, running_session

# The card's format for a file's encoding: the narrowest that loses nothing.
WIRE_FORMATS = {
    "u8": "s16_le",
    "s16": "s16_le",
    "s24": "s32_le",
    "s32": "float_le",  # PipeWire 1.4 rounds the loudest ones up to 1.0, which s32_le has not
    "f32": "float_le",
    "f64": "float_le",
}
SPEECH_SEC = 4
PROBE_SEC = 0.5
# pw-play loses the last part of a quantum at any sink: silence after the file is not missed.
PADDING_SEC = 0.5
_DRAIN_SEC = 1.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line says."""

    file: Path | None = None
    json: bool = False
    keep: bool = False
    format: str = ""
    quantum_frames: int = 1024
    guest: str = "pipewire"  # of GUESTS
    host: str = "pipewire"  # the backend's output
    host_has_pipewire: bool = True  # that output is one
    private: bool = False
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came out; delays in ms from the start of a graph cycle, None: not measured."""

    frames_sent: int
    frames_received: int
    lost: int
    duplicated: int
    reordered: int
    bit_exact: bool
    xruns: int
    silence_frames: int
    delay_reported_ms: float | None
    delay_true_ms: float | None
    format: str
    rate: int
    channels: int
    period_frames: int

    @property
    def passed(self) -> bool:
        return self.bit_exact and self.lost == 0 and self.duplicated == 0


def run_demo(options: DemoOptions) -> int:
    """Exit status: 0 every frame came out once and in order, 1 not."""
    kind = GUESTS[options.guest]
    kind.require()
    host, host_environ = _host(options)
    wav = read_wav(options.file) if options.file is not None else _speech()
    if wav.channels not in POSITIONS:
        raise ConfigError(
            f"{wav.path} has {wav.channels} channels", hint="play one with 1, 2, 4, 6 or 8"
        )
    wire = options.format or WIRE_FORMATS[wav.encoding]
    say = _Say(options.json)
    say(f"host: {host}; guest: {kind.name}; between them: sndif on a simulated Xen")
    record = [] if host_environ is None else ["--record", "RECORD"]
    guest = kind(
        card_nodes(
            rates=[wav.rate],
            formats=[wire],
            channels_min=wav.channels,
            channels_max=wav.channels,
            buffer_bytes=1 << 20,
        ),
        rate=wav.rate,
        channels=wav.channels,
        quantum_frames=options.quantum_frames,
        host_environ=host_environ,
        backend_args=["--allow-microphone", "--output", options.host, *record],
    )
    bed = guest.bed
    recording = bed.directory / "played.wav"
    bed.replace_backend_argument("RECORD", str(recording))
    with guest.up() as name, _logs(bed, options.verbose):
        say(f"{name} is there")
        if options.keep:
            return _keep(guest)
        delays = _measure_delay(guest, say)
        first = bed.loudspeaker.frames if bed.loudspeaker is not None else 0
        reference = to_float32(wav, library_version()).tobytes()
        # ALSA's plug and PulseAudio round otherwise what float_le cannot hold
        ready = wire == "float_le" and not guest.converts
        encoding, data = ("f32", reference) if ready else (wav.encoding, wav.data)
        if not guest.maps:
            data = to_alsa_order(data, wav.channels, len(data) // (wav.frames * wav.channels))
        _play(guest, _padded(bed.directory / "padded.wav", wav, encoding, data), wav, say)
        opened = guest.opened()
        if bed.loudspeaker is not None:
            received = bed.loudspeaker.data(first)
        else:
            bed.stop_halves()  # the recording is complete when the backend has closed it
            received = to_float32(read_wav(recording)).tobytes()
            reference = to_alsa_order(reference, wav.channels, 4)  # as they are in sndif
        comparison = compare(reference, received, 4 * wav.channels, bytes(4 * wav.channels))
    result = _result(wav, comparison, delays, opened)
    if options.json:
        print(json.dumps(asdict(result)))
    else:
        print(_table(result))
    return 0 if result.passed else 1


def _host(options: DemoOptions) -> tuple[str, dict[str, str] | None]:
    """What it is called, and where its backend runs; None: in a private session."""
    if not options.host_has_pipewire:
        if options.private:
            raise ConfigError(
                f"--private makes a PipeWire session, and --host {options.host} uses none"
            )
        return f"output {options.host}", dict(os.environ)
    environ = None if options.private else running_session()
    return "a private session" if environ is None else "the running PipeWire session", environ


class _Say:
    """Progress for people: standard error, or nothing at all with --json."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        if not self._quiet:
            print(text, file=sys.stderr)

    def progress(self, text: str, *, last: bool = False) -> None:
        """One line that changes; without a terminal only the last one is shown."""
        if self._quiet or not (self._live or last):
            return
        end = "\n" if last else ""
        print(("\r\x1b[K" if self._live else "") + text, end=end, file=sys.stderr, flush=True)


@contextmanager
def _logs(bed: Machine, verbose: bool) -> Iterator[None]:
    """Shows both halves' logs when asked for, or when something went wrong."""
    failed = True
    try:
        yield
        failed = False
    except KeyboardInterrupt:
        failed = False
        raise
    finally:
        if verbose or failed:
            for role in ("backend", "frontend", "pulse"):
                for line in bed.log(role).splitlines()[-20:]:
                    print(f"{role}: {line}", file=sys.stderr)


def _speech() -> WavFile:
    rate, channels = 48000, 2
    data = speech_bytes(SPEECH_SEC, rate, channels)
    return WavFile(
        path=Path("speech"),
        rate=rate,
        channels=channels,
        encoding="s16",
        frames=rate * SPEECH_SEC,
        data=data,
    )


def _padded(path: Path, wav: WavFile, encoding: str, data: bytes) -> Path:
    frame_bytes = len(data) // wav.frames
    zero = b"\x80" if encoding == "u8" else b"\0"
    padding = zero * (int(wav.rate * PADDING_SEC) * frame_bytes)
    write_wav(path, wav.rate, wav.channels, encoding, data + padding)
    return path


def _play(guest: DemoGuest, file: Path, wav: WavFile, say: _Say) -> None:
    seconds = wav.frames / wav.rate
    player = guest.play(file, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while player.poll() is None:
        guest.check()
        done = min(time.monotonic() - began, seconds)
        say.progress(f"playing {wav.path.name}: {done:5.1f} of {seconds:.1f} s")
        if time.monotonic() - began > 2 * seconds + 30:
            player.kill()
            raise XenPvAudioError(f"{guest.player} did not come to an end")
        time.sleep(0.1)
    say.progress(f"played {wav.path.name}: {seconds:.1f} s", last=True)
    if player.returncode != 0:
        message = (player.stderr.read() if player.stderr else "").strip().splitlines()
        raise XenPvAudioError(f"{guest.player} failed: {message[-1] if message else 'no message'}")
    time.sleep(_DRAIN_SEC)


def _measure_delay(guest: DemoGuest, say: _Say) -> tuple[float | None, float | None]:
    """(told, true) delay in ms, medians over the times that a short noise was asked about."""
    bed = guest.bed
    if bed.loudspeaker is None:
        return None, None
    say.progress("measuring the delay ...")
    first = bed.loudspeaker.frames
    asked = guest.probe(int(PROBE_SEC * bed.rate))
    if asked is None:
        return None, None
    time.sleep(_DRAIN_SEC)
    marks, sent = asked
    received = bed.loudspeaker.data(first)
    frame_bytes = 4 * bed.channels
    comparison = compare(sent, received, frame_bytes, bytes(frame_bytes))
    settled = marks[len(marks) // 2 :]
    start = comparison.first_received_frame
    if not comparison.bit_exact or comparison.gaps or not settled or start is None:
        say("the delay could not be measured: the machine stalled meanwhile")
        return None, None
    told, true = [], []
    for frame, asked_nsec, told_nsec in settled:
        played = bed.loudspeaker.played_nsec(first + start + frame)
        if played is not None:
            told.append((told_nsec - asked_nsec) / 1e6)
            true.append((played - asked_nsec) / 1e6)
    return round(statistics.median(told), 3), round(statistics.median(true), 3)


def _result(
    wav: WavFile,
    c: Comparison,
    delays: tuple[float | None, float | None],
    opened: tuple[str, int],
) -> DemoResult:
    return DemoResult(
        frames_sent=c.frames_sent,
        frames_received=c.matched,
        lost=c.lost,
        duplicated=c.duplicated,
        reordered=c.reordered,
        bit_exact=c.bit_exact,
        xruns=c.gaps,
        silence_frames=c.inserted_silence,
        delay_reported_ms=delays[0],
        delay_true_ms=delays[1],
        format=opened[0],
        rate=wav.rate,
        channels=wav.channels,
        period_frames=opened[1],
    )


def _table(r: DemoResult) -> str:
    def delay(ms: float | None) -> str:
        return "not measured" if ms is None else f"{ms:.1f} ms"

    rows = [
        ("format", f"{r.format}, {r.rate} Hz, {r.channels} channels, period {r.period_frames}"),
        ("frames sent", f"{r.frames_sent}"),
        ("frames received", f"{r.frames_received} ({r.lost} lost, {r.duplicated} repeated)"),
        ("bit exact", "yes" if r.bit_exact else "NO"),
        ("xruns", f"{r.xruns}" + (" (silence was inserted)" if r.xruns else "")),
        ("delay as reported", delay(r.delay_reported_ms)),
        ("delay as measured", delay(r.delay_true_ms)),
    ]
    return "\n".join(f"  {name:<18} {text}" for name, text in rows)


def _keep(guest: DemoGuest) -> int:
    """Stays until Ctrl-C."""
    print("The guest is up. In another terminal, to be in it:\n")
    for key, text in guest.exports().items():
        print(f"  export {key}={text}")
    print(f"\nthen for example: {guest.examples}\n")
    print("Ctrl-C here ends it.", flush=True)
    try:
        while True:
            guest.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        return 0
