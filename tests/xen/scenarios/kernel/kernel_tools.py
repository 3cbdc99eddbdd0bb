"""alsa-utils on the kernel's card, and what ALSA's own tests do."""

from __future__ import annotations

import json
import re
import time

from cards import wait_card
from dom0 import OUT, Daemon, Lab, compare_frames, expect, finished, wait_until
from frames import describe
from guest import Guest, command
from kernel_front import FRAMES, RAW, periods
from tones import channels_in_turn

CARD = (
    "CARD, short-name=XenLab, long-name=Xen lab card, sample-rates=8000;44100;48000;96000, "
    "sample-formats=s16_le, channels-max=2, buffer-size=1048576"
)
PCM = ("PCM, name=Lab PCM", "STREAM, unique-id=play, type=p", "STREAM, unique-id=cap, type=c")
VSND = f"vsnd = [ [ {', '.join(repr(text) for text in (CARD, *PCM))} ] ]"
RECORD = OUT / "tools-play.wav"
# Less than a period, whole periods, one more and one less than periods and buffers, and a long one.
DRAINS = (1, 7, 100, 2399, 2400, 2401, 4801, 9599, 9600, 9601, 12345, 3, 20011)
# Half a second: the emulator stands still now and then, and Linux waits 1.1 buffers for a period.
LONG = periods(8192, 3)
RAW_8000 = RAW.replace("48000", "8000")
SPEAKER_TEST = "-c 2 -r 8000 -F S16_LE -t sine -f 440 -l 1 -b 1000000 -p 250000"
# The selftest's own margin.
MARGIN_MS = 100


def run(lab: Lab) -> None:
    RECORD.unlink(missing_ok=True)
    guest = Guest(vsnd=VSND)
    lab.explain_with(guest)
    arguments = ("--output", "loopback,delay=40ms", "--allow-microphone", "--record", str(RECORD))
    with Daemon("backend-tools", *arguments) as backend, guest:
        guest.must("modprobe snd_xen_front")
        wait_card(guest)
        tools(lab, guest)
        drains(lab, guest)
        suspend(lab, guest)
        with lab.scenario("kernel.selftest_timing") as figures:
            told = guest.must(f"timeout 110 python3 /run/lab/inside/pcm_test.py hw:0,0 {MARGIN_MS}")
            print(told, flush=True)
            errors = [int(ms) for ms in re.findall(r": ([-+]\d+) ms of", told)]
            skipped = told.count("skipped")
            expect(len(errors) == 12 and skipped == 2, told)
            worst = max(errors, key=abs)
            figures.append(f"{len(errors)} configurations, off by {worst} ms at the most")
            figures.append(f"{skipped} skipped (6 channels of 6.9 MB)")
        expect("Traceback" not in backend.log(), "a traceback in the backend's log")


def tools(lab: Lab, guest: Guest) -> None:
    with lab.scenario("kernel.arecord_of_silence_is_as_long_as_asked") as figures:
        started = time.monotonic()
        guest.must(f"timeout 110 arecord {RAW} {LONG} -d 2 /tmp/silence.raw")
        took = time.monotonic() - started
        size = guest.must("stat -c %s /tmp/silence.raw; tr -d '\\0' < /tmp/silence.raw | wc -c")
        expect(size.split() == [str(2 * 48000 * 4), "0"], f"bytes, bytes not 0: {size.split()}")
        figures.append(f"{2 * 48000 * 4} bytes in {took:.1f} s")
    with lab.scenario("kernel.speaker_test_reaches_its_channels") as figures:
        RECORD.unlink(missing_ok=True)
        guest.must(f"timeout 110 speaker-test -D hw:0,0 {SPEAKER_TEST}")
        found = channels_in_turn(finished(RECORD), 8000)
        figures.append(", ".join(f"channel {side} {hertz:.2f} Hz" for side, hertz in found))
        # Into a file the program plays the same. Its 440 Hz are 442.2 in version 1.2.14.
        written = guest.must(
            "echo 'pcm.written { type file slave.pcm null file /tmp/speaker-test.wav format wav }'"
            f" > /tmp/.asoundrc; HOME=/tmp timeout 60 speaker-test -D written {SPEAKER_TEST}"
            " > /dev/null; python3 /run/lab/inside/tones.py /tmp/speaker-test.wav 8000"
        )
        wanted = json.loads(written)
        figures.append(f"in a file {wanted[0][1]:.2f} and {wanted[1][1]:.2f} Hz")
        expect([side for side, _ in found] == [side for side, _ in wanted] == [0, 1], f"{found}")
        wrong = [hertz for _, hertz in wanted if abs(hertz - 440) >= 5]
        wrong += [at for (_, at), (_, to) in zip(found, wanted, strict=True) if abs(at - to) > 0.1]
        expect(not wrong, f"tones: {found}, in a file: {wanted}")


def drains(lab: Lab, guest: Guest) -> None:
    with lab.scenario("kernel.drains_to_the_last_frame") as figures:
        lengths = " ".join(map(str, DRAINS))
        RECORD.unlink(missing_ok=True)
        program = "timeout 110 python3 /run/lab/inside/pcm_test.py drain hw:0,0"
        figures.append(guest.must(f"{program} {FRAMES} {lengths}").strip())
        played = lab.frames[: 4 * sum(DRAINS)]
        figures.append(compare_frames(finished(RECORD), played, silence_between=True))


def suspend(lab: Lab, guest: Guest) -> None:
    with lab.scenario("kernel.suspended_guest_plays_on") as figures:
        RECORD.unlink(missing_ok=True)
        # At 8000 Hz it takes 9 s: what is to come while it plays comes in time on any machine.
        played = lab.frames[: 4 * 72000]
        ident = guest.console.start(
            f"head -c {len(played)} {FRAMES} | timeout 110 aplay {RAW_8000} {LONG} - 2>&1"
        )
        wait_until(lambda: RECORD.exists() and RECORD.stat().st_size > 4 * 8192, "sound")
        # A checkpoint: the guest is suspended, saved and goes on. ALSA triggers SUSPEND, of which
        # the driver makes PAUSE; then aplay prepares the stream anew, without a STOP.
        command("xl", "save", "-c", guest.name, "/dev/shm/saved")
        told = guest.console.result(ident, 110)
        expect(told.status == 0, f"aplay: {told.output[-300:]}")
        pieces = describe(finished(RECORD), played, 4)
        spans = [tuple(map(int, p.split(".."))) for p in pieces if ".." in p]
        expect(len(spans) == 2 and not any("unknown" in p for p in pieces), f"{pieces}")
        expect(spans[0][0] == 0 and spans[1][1] == len(played) // 4 - 1, f"{pieces}")
        lost = spans[1][0] - spans[0][1] - 1
        expect(0 < lost <= 3 * 8192, f"{lost} frames lost: {pieces}")
        figures.append(f"{', '.join(pieces)}: {lost} frames of the buffer not heard, as ALSA says")
