"""Our backend in dom0 against the Linux kernel's frontend, snd_xen_front, in a guest.

The emulated guest may be too late and have an underrun, and how often is no matter of the backend:
what it played is to be there all the same, every frame once and in order, with silence only then.
"""

from __future__ import annotations

import subprocess
import time

from cards import wait_card
from dom0 import OUT, Daemon, Lab, expect, finished
from frames import GaveUpError, compare_plays
from guest import Guest, GuestError
from players import times_given_up

CARD = (
    "CARD, short-name=XenLab, long-name=Xen lab card, sample-rates=44100;48000, "
    "sample-formats=s16_le;s32_le, channels-max=2, buffer-size=524288"
)
STREAMS = ("PCM, name=Lab PCM", "STREAM, unique-id=play0, type=p", "STREAM, unique-id=cap0, type=c")
VSND = f"vsnd = [ [ {', '.join(repr(text) for text in (CARD, *STREAMS))} ] ]"
RAW = "-D hw:0,0 -q -t raw -f S16_LE -r 48000 -c 2"
FRAMES = "/run/lab/job/frames.raw"
RECORD = OUT / "kernel-play.wav"
PLAYS_IN_A_ROW, CAPTURES_IN_A_ROW = 10, 5


def periods(period: int, count: int) -> str:
    return f"--period-size={period} --buffer-size={period * count}"


# Since 6.6 Linux waits 1.1 buffers for a position, then it ends a write or a drain with EIO; the
# emulator stands still for 200 ms at times, beside other work for more than a second. As long as
# the card's buffer can be.
LONG = periods(16384, 8)


class StateTimes:
    """When libxl made the backend's directory, and when InitWait was written: two events of
    backend/vsnd/*/0/state."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["xenstore-watch", "/local/domain/0/backend/vsnd"], stdout=subprocess.PIPE, text=True
        )

    def init_wait_sec(self) -> float:
        assert self._process.stdout is not None
        times: list[float] = []
        for line in self._process.stdout:
            if line.strip().endswith("/0/state"):
                times.append(time.monotonic())
            if len(times) == 2:
                break
        self._process.kill()
        self._process.wait()
        return times[1] - times[0]


def run(lab: Lab) -> None:
    RECORD.unlink(missing_ok=True)
    guest = Guest(vsnd=VSND)
    lab.explain_with(guest)
    with Daemon("backend-null", "--output", "null", "--record", str(RECORD)) as backend:
        start_guest(lab, guest, backend)
        play(lab, guest)
        with lab.scenario("backend.ends_at_sigterm") as figures:
            figures.append(f"{backend.stop():.1f} s")
    arguments = ("--output", "loopback,delay=40ms", "--allow-microphone")
    with Daemon("backend-loopback", *arguments) as backend:
        with lab.scenario("kernel.finds_the_next_backend") as figures:
            figures.append(f"Connected after {wait_card(guest, backend.log):.1f} s")
        capture(lab, guest)
    with lab.scenario("kernel.guest_halts") as figures:
        figures.append(f"{guest.halt():.1f} s")


def start_guest(lab: Lab, guest: Guest, backend: Daemon) -> None:
    with lab.scenario("backend.init_wait_within_a_second") as figures:
        import threading

        times, seconds = StateTimes(), list[float]()
        thread = threading.Thread(target=lambda: seconds.append(times.init_wait_sec()))
        thread.start()
        guest.start()
        thread.join(20)
        expect(bool(seconds), "no InitWait was seen")
        figures.append(f"backend's start {backend.ready_sec:.1f} s")
        figures.append(f"xl create {guest.create_sec:.1f} s")
        figures.append(f"InitWait after {seconds[0] * 1e3:.0f} ms")
        # A second; or on a machine that is slower still, a small part of what xl takes for all.
        limit_sec = max(1.0, guest.create_sec / 10)
        expect(seconds[0] < limit_sec, f"InitWait after {seconds[0]:.1f} s")
    with lab.scenario("kernel.card_appears") as figures:
        guest.must("modprobe snd_xen_front")
        figures.append(f"Connected after {wait_card(guest):.1f} s")
        listed = guest.must("aplay -l; arecord -l")
        expect(listed.count("device 0: ") == 2, f"the guest has {listed}")


def play_all(lab: Lab, guest: Guest, how: str) -> str:
    """Plays the numbered frames with aplay, and compares what the host was given."""
    return aplay(guest, f"{RAW} {how} {FRAMES}", lab.frames)


def aplay(guest: Guest, options: str, played: bytes, frame_bytes: int = 4) -> str:
    took_sec = 0.0

    def play() -> tuple[bytes, int]:
        nonlocal took_sec
        RECORD.unlink(missing_ok=True)
        given_up = times_given_up(guest)
        started = time.monotonic()
        done = guest.run(f"timeout 110 aplay {options}")
        took_sec = time.monotonic() - started
        if times_given_up(guest) > given_up:  # a drain that ends so is no error to aplay
            raise GaveUpError(f"Linux gave up: {done.output[-200:]}")
        if done.status:
            raise GuestError(f"aplay: status {done.status}: {done.output[-800:]}")
        return finished(RECORD), done.output.count("underrun!!!")

    return f"{compare_plays(play, played, frame_bytes)}, aplay took {took_sec:.1f} s"


def play(lab: Lab, guest: Guest) -> None:
    with lab.scenario("kernel.play_is_bit_exact") as figures:
        figures.append(play_all(lab, guest, periods(2400, 4)))
    with lab.scenario("kernel.two_periods_a_buffer") as figures:
        figures.append(play_all(lab, guest, periods(16384, 2)))
    with lab.scenario("kernel.odd_period") as figures:
        figures.append(play_all(lab, guest, periods(2003, 17)))
    with lab.scenario("kernel.full_buffer") as figures:
        figures.append(play_all(lab, guest, periods(32768, 4)))
    with lab.scenario("kernel.start_stop_storm") as figures:
        figures.append(guest.must("timeout 90 python3 /run/lab/inside/alsa.py storm 20").strip())
        figures.append(play_all(lab, guest, periods(2400, 14)))
    with lab.scenario("kernel.underrun_loses_nothing") as figures:
        figures.append(underrun(lab, guest))
    with lab.scenario("kernel.s32_44100") as figures:
        wide = b"".join(b"\x11\x22" + lab.frames[at : at + 2] for at in range(0, 400_000, 2))
        guest.must(
            "python3 -c \"d=open('" + FRAMES + "','rb').read();"
            "open('/tmp/wide.raw','wb').write(b''.join(b'\\x11\\x22'+d[i:i+2]"
            'for i in range(0,400000,2)))"'
        )
        options = f"-D hw:0,0 -q -t raw -f S32_LE -r 44100 -c 2 {periods(2048, 16)} /tmp/wide.raw"
        figures.append(aplay(guest, options, wide, 8))
    plays_in_a_row(lab, guest)


def underrun(lab: Lab, guest: Guest) -> str:
    def play() -> tuple[bytes, int]:
        RECORD.unlink(missing_ok=True)
        command_line = f"timeout 110 python3 /run/lab/inside/alsa.py gap {FRAMES} 2"
        underruns = int(guest.must(command_line).split()[0])
        expect(underruns > 0, "there was no underrun")
        return finished(RECORD), underruns

    return compare_plays(play, lab.frames, meant_underruns=1)


def cut(number: int) -> tuple[int, int, str]:
    """Half a second of the frames, others for each number: first byte, end, and the shell's line
    that makes /tmp/part.raw of them."""
    first, length = 4 * 12000 * number, 4 * 24000
    line = f"tail -c +{first + 1} {FRAMES} | head -c {length} > /tmp/part.raw"
    return first, first + length, line


def plays_in_a_row(lab: Lab, guest: Guest) -> None:
    with lab.scenario("kernel.ten_plays_in_a_row") as figures:
        equal_bytes = 0
        for number in range(PLAYS_IN_A_ROW):
            first, end, line = cut(number)
            guest.must(line)
            told = aplay(guest, f"{RAW} {LONG} /tmp/part.raw", lab.frames[first:end])
            print(f"  play {number}: {told}", flush=True)
            equal_bytes += end - first
        figures.append(f"{PLAYS_IN_A_ROW} plays, {equal_bytes} bytes equal")


RECORDED = """
{first}
rm -f /tmp/rec.raw
timeout 110 arecord {options} /tmp/rec.raw 2> /tmp/rec.err & recorder=$!
for i in $(seq 300); do [ -s /tmp/rec.raw ] && break; sleep 0.1; done
timeout 110 aplay {options} {file}; status=$?
wanted=$(($(stat -c %s /tmp/rec.raw) + 96000))
for i in $(seq 300); do [ $(stat -c %s /tmp/rec.raw) -ge $wanted ] && break; sleep 0.1; done
kill $recorder; wait; cat /tmp/rec.err
[ $status = 0 ] && python3 /run/lab/inside/frames.py /tmp/rec.raw {file}
"""
"""Records from before the sound to half a second after it, by the microphone's own time."""


def record_while_playing(guest: Guest, file: str, first: str = "") -> str:
    """What is played comes back by the backend's loopback; compared in the guest, whose files are
    too large for the console. `first`: makes the file. An overrun that takes nothing of the sound
    is the emulator's own."""
    options = f"{RAW} {periods(8192, 8)}"
    script = RECORDED.format(first=first, options=options, file=file)
    return guest.must(script).splitlines()[-1]


def capture(lab: Lab, guest: Guest) -> None:
    with lab.scenario("kernel.full_duplex_is_bit_exact") as figures:
        figures.append(record_while_playing(guest, FRAMES))
    with lab.scenario("kernel.five_captures_in_a_row") as figures:
        equal_bytes = 0
        for number in range(CAPTURES_IN_A_ROW):
            first, end, line = cut(number)
            told = record_while_playing(guest, "/tmp/part.raw", line)
            print(f"  capture {number}: {told}", flush=True)
            expect(told == f"{end - first} bytes equal", told)
            equal_bytes += end - first
        figures.append(f"{CAPTURES_IN_A_ROW} captures, {equal_bytes} bytes equal")
