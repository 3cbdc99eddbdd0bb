"""Two guests at once: each plays a part of the numbered frames that the other does not have.

At 16 kHz: a buffer then holds two seconds, so that the emulator's pauses (the end of a domain is
one) cost nothing and every play can be asked to be bit exact, with no silence in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dom0 import OUT, Daemon, Lab, compare_frames, finished, wait_until, wav_data
from frames import DifferentError, GaveUpError, compare_plays, describe, marked_span
from guest import Guest, GuestError
from players import times_given_up

RATE = 16000
FRAME_BYTES = 4
BUFFER = 32768
LONG_BUFFER = 65536
"""Four seconds: whatever else dom0 does, the guest has no underrun, after which Linux before 7.2
may end too early (packaging/doc/peers.md)."""


def raw(buffer_frames: int) -> str:
    """aplay's options."""
    return (
        f"-D hw:0,0 -q -t raw -f S16_LE -r {RATE} -c 2 --period-size={buffer_frames // 4} "
        f"--buffer-size={buffer_frames}"
    )


RAW = raw(BUFFER)
RECORDED = OUT / "recorded"
"""A directory: the backend gives each stream a file of its own."""


def vsnd(buffer_bytes: int = BUFFER * FRAME_BYTES, more: str = "") -> str:
    """One playback stream; `more`: as in xl.cfg, for the card."""
    card = (
        f"CARD, short-name=XenLab, sample-rates={RATE}, sample-formats=s16_le, channels-max=2, "
        f"buffer-size={buffer_bytes}{more}"
    )
    streams = ("PCM, name=Lab PCM", "STREAM, unique-id=play0, type=p")
    return f"vsnd = [ [ {', '.join(repr(text) for text in (card, *streams))} ] ]"


@dataclass(frozen=True, slots=True)
class Part:
    """`count` frames from `first` on; /tmp/part.raw in a guest."""

    first: int
    seconds: int

    @property
    def count(self) -> int:
        return self.seconds * RATE

    def of(self, lab: Lab) -> bytes:
        begin = self.first * FRAME_BYTES
        return lab.frames[begin : begin + self.count * FRAME_BYTES]

    def make(self, guest: Guest) -> None:
        guest.must(
            f"tail -c +{self.first * FRAME_BYTES + 1} /run/lab/job/frames.raw"
            f" | head -c {self.count * FRAME_BYTES} > /tmp/part.raw"
        )


def backend(name: str) -> Daemon:
    """Each of its streams is recorded."""
    RECORDED.mkdir(exist_ok=True)
    return Daemon(name, "--output", "null", "--record", str(RECORDED))


def recording(guest: Guest) -> Path:
    return RECORDED / f"{guest.name}.0.0.0.wav"


def forget(guest: Guest) -> None:
    """Waits for the end of its last recording, which is when its stream was closed (a session
    closes it some seconds after the last sound), and removes it."""
    path = recording(guest)
    if path.exists():
        finished(path)
        path.unlink()


def sounds(guest: Guest) -> bool:
    """Whether more than silence has been heard, for a tenth of a second."""
    path = recording(guest)
    return path.exists() and len(wav_data(path).strip(b"\0")) > RATE // 10 * FRAME_BYTES


def heard(lab: Lab, guest: Guest, part: Part, *, rounds: int = 1, underruns: int = 0) -> str:
    """ "N bytes equal" once the part was heard `rounds` times, every frame once a round and in
    order. `underruns`: those that the player told of; each may be one silence inside."""
    played = part.of(lab)
    return compare_frames(finished(recording(guest)), played * rounds, underruns=underruns)


def played(lab: Lab, guest: Guest, part: Part, options: str = RAW) -> str:
    """aplay plays the part, and it is heard so."""

    def play() -> tuple[bytes, int]:
        forget(guest)
        given_up = times_given_up(guest)
        done = guest.run(f"timeout 110 aplay {options} /tmp/part.raw")
        if times_given_up(guest) > given_up:  # a drain that ends so is no error to aplay
            raise GaveUpError(f"Linux gave up: {done.output[-200:]}")
        if done.status:
            raise GuestError(f"aplay: status {done.status}: {done.output[-800:]}")
        return finished(recording(guest)), done.output.count("underrun")

    return compare_plays(play, part.of(lab), FRAME_BYTES)


def heard_span(lab: Lab, guest: Guest, part: Part) -> tuple[int, int]:
    """First and last frame of a recording that holds these and all between, in order, each once
    (silence anywhere); DifferentError if there is anything else."""
    pieces = describe(wav_data(recording(guest)), part.of(lab), FRAME_BYTES)
    sounding = [piece for piece in pieces if "silent" not in piece]
    shown = ", ".join(pieces[:12])
    if not sounding or any("unknown" in piece for piece in sounding):
        raise DifferentError(f"nothing, or frames that nobody played: {shown}")
    spans = [tuple(map(int, piece.split(".."))) for piece in sounding]
    if any(after[0] != before[1] + 1 for before, after in pairwise(spans)):
        raise DifferentError(f"lost, repeated or moved frames: {shown}")
    return spans[0][0], spans[-1][1]


def heard_so_far(lab: Lab, guest: Guest, part: Part) -> int:
    """How many frames a stream that was cut off has played, the first one included."""
    first, last = heard_span(lab, guest, part)
    if first != 0:
        raise DifferentError(f"it began with frame {first}")
    return last + 1


def heard_marked(lab: Lab, guest: Guest, part: Part) -> tuple[int, int]:
    """The first and the last frame of a recording of marked rounds, with all between."""
    return marked_span(wav_data(recording(guest)), part.of(lab))


def heard_rounds(lab: Lab, guest: Guest, part: Part) -> float:
    """How many times a stream that was cut off has played the part, every frame in order."""
    played, recorded = part.of(lab), wav_data(recording(guest))
    silence = bytes(FRAME_BYTES)
    starts = range(0, len(recorded) - FRAME_BYTES + 1, FRAME_BYTES)
    sounding = b"".join(f for i in starts if (f := recorded[i : i + FRAME_BYTES]) != silence)
    rounds = len(sounding) // len(played) + 1
    if not sounding or not (played * rounds).startswith(sounding):
        shown = ", ".join(describe(recorded, played, FRAME_BYTES)[:12])
        raise DifferentError(f"nothing, or not one round after the other: {shown}")
    return len(sounding) / len(played)


def kernel_card(guest: Guest, timeout_sec: float = 100) -> None:
    """The kernel's driver, until its card is there."""
    guest.must(
        f"modprobe snd_xen_front; for i in $(seq {timeout_sec * 5:.0f}); do "
        "[ -e /dev/snd/pcmC0D0p ] && exit; sleep 0.2; done; exit 1"
    )


def wait_growing(guests: list[Guest]) -> float:
    """Seconds until each guest's recording has grown: until all of them are heard."""
    before = [recording(guest).stat().st_size for guest in guests]
    return wait_until(
        lambda: all(recording(g).stat().st_size > b for g, b in zip(guests, before, strict=True)),
        f"sound of {' and '.join(guest.name for guest in guests)}",
    )
