"""PipeWire in a guest on the kernel's card: its ALSA sink and source on snd_xen_front, our backend.

An ALSA sink runs by a timer and looks at the card's position, which this card knows once a period.
Each play opens the card anew: WirePlumber closes it 5 s after the last sound.
"""

from __future__ import annotations

import re
import time

import round_trip
from cards import wait_card
from dom0 import OUT, Daemon, Lab, expect, heard_until, wait_until, wav_data
from frames import in_order
from guest import Guest
from our_front import at_rest

CARD = (
    "CARD, short-name=XenLab, long-name=Xen lab card, sample-rates=48000, "
    "sample-formats=s16_le, channels-max=2, buffer-size=262144"
)
PCM = ("PCM, name=Lab PCM", "STREAM, unique-id=play, type=p", "STREAM, unique-id=cap, type=c")
VSND = f"vsnd = [ [ {', '.join(repr(text) for text in (CARD, *PCM))} ] ]"
FRAMES = "/run/lab/job/frames.wav"
RECORD = OUT / "pipewire-play.wav"
# A client that the emulator wakes too late loses a cycle, with any sink: so few and long ones.
QUANTUM_FRAMES = 4096
PLAYS = 2
FRAME_COUNT = 3 * 48000
SESSION = "export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus;"


def run(lab: Lab) -> None:
    RECORD.unlink(missing_ok=True)
    guest = Guest(vsnd=VSND)
    lab.explain_with(guest)
    arguments = ("--output", "loopback,delay=40ms", "--allow-microphone", "--record", str(RECORD))
    with Daemon("backend-kpw", *arguments) as backend, guest:
        guest.must("modprobe snd_xen_front")
        wait_card(guest)
        try:
            with lab.scenario("kernel_pipewire.card_is_a_sink_and_a_source") as figures:
                started = time.monotonic()
                guest.must(
                    "export PIPEWIRE_DEBUG=3;"
                    "PW_UDEV=1; . /run/lab/inside/pw-start > /dev/null 2>&1 < /dev/null"
                )
                wait_until(lambda: "alsa_input" in nodes(guest), "a source")
                figures.append(f"after {time.monotonic() - started:.1f} s: {nodes(guest)}")
                guest.must(
                    f"{SESSION} wpctl set-volume @DEFAULT_AUDIO_SINK@ 1.0;"
                    f"pw-metadata -n settings 0 clock.force-quantum {QUANTUM_FRAMES}"
                )
                # The session starts for some seconds more; with one processor that is heard.
                figures.append(at_rest(guest))
            with lab.scenario("kernel_pipewire.plays_without_a_stall") as figures:
                for _ in range(PLAYS):
                    wait_until(lambda: closed(guest), "the card is closed")
                    figures.append(play(lab, guest))
                log = guest.must("grep -c 'after recover' $OUT/pw-pipewire.log || true")
                expect(log.strip() == "0", f"{log.strip()} xruns in the guest's PipeWire")
                figures.append("no xrun in the guest's PipeWire")
            with lab.scenario("kernel_pipewire.records_what_it_plays") as figures:
                figures.append(record(guest))
        finally:
            (OUT / "guest-pw.log").write_text(
                guest.run(
                    "tail -c 200000 $OUT/pw-pipewire.log; cat $OUT/pw-wireplumber.log; dmesg | tail"
                ).output
            )
        expect("Traceback" not in backend.log(), "a traceback in the backend's log")


def nodes(guest: Guest) -> str:
    listed = guest.run(f"{SESSION} pw-cli ls Node").output
    return " ".join(re.findall(r'node.name = "(alsa_[^"]*)"', listed))


def closed(guest: Guest) -> bool:
    return guest.must("cat /proc/asound/card0/pcm0p/sub0/status").strip() == "closed"


def record(guest: Guest) -> str:
    round_trip.record(guest, SESSION)
    numbers = guest.must(f"python3 /run/lab/inside/frames.py /tmp/rec.wav {FRAMES} order").split()
    return judged(*map(int, numbers))


def play(lab: Lab, guest: Guest) -> str:
    RECORD.unlink(missing_ok=True)
    ident = guest.console.start(f"{SESSION} timeout 110 pw-play {FRAMES} 2>&1")
    # The emulator takes its time to start a program: it is the sound that may not take long.
    wait_until(sounds, "sound")
    started = time.monotonic()
    done = guest.console.result(ident, 110)
    took = time.monotonic() - started
    expect(done.status == 0, f"pw-play: {done.output[-300:]}")
    figure = judged(*in_order(heard_until(RECORD, lab.frames[-32:]), lab.frames))
    # 3 s of sound and half a second behind it
    expect(took < 8, f"pw-play took {took:.1f} s from the first sound on")
    return f"{figure}, {took:.1f} s {done.output.strip()}"


def sounds() -> bool:
    return RECORD.exists() and bool(wav_data(RECORD).strip(b"\0"))


def judged(lost: int, longest: int) -> str:
    """What a late client loses is no fault of the card; a stall is silence that lasts, or the end
    of all sound."""
    expect(lost < FRAME_COUNT // 20, f"{lost} frames lost")
    expect(longest < 48000, f"silence of {longest} frames")
    return f"{lost} of {FRAME_COUNT} frames lost, {longest} silent together at the most"
