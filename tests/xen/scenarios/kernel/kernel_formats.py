"""Every format and rate that the kernel's frontend knows, and several streams and cards at once.

What a guest plays comes back through the host's loopback and is compared there, byte by byte.
"""

from __future__ import annotations

import re

from cards import wait_card
from dom0 import Daemon, Lab, expect, wait_until
from guest import Guest, command

# As xen_snd_front_cfg.c lists them. All the header's formats; no 88200 Hz.
RATES = (5512, 8000, 11025, 16000, 22050, 32000, 44100, 48000, 64000, 96000, 176400, 192000)
# ALSA's name -> the header's.
FORMATS = {
    "S8": "s8",
    "U8": "u8",
    "S16_LE": "s16_le",
    "S16_BE": "s16_be",
    "U16_LE": "u16_le",
    "U16_BE": "u16_be",
    "S24_LE": "s24_le",
    "S24_BE": "s24_be",
    "U24_LE": "u24_le",
    "U24_BE": "u24_be",
    "S32_LE": "s32_le",
    "S32_BE": "s32_be",
    "U32_LE": "u32_le",
    "U32_BE": "u32_be",
    "FLOAT_LE": "float_le",
    "FLOAT_BE": "float_be",
    "FLOAT64_LE": "float64_le",
    "FLOAT64_BE": "float64_be",
    "IEC958_SUBFRAME_LE": "iec958_subframe_le",
    "IEC958_SUBFRAME_BE": "iec958_subframe_be",
    "MU_LAW": "mu_law",
    "A_LAW": "a_law",
}
FRAMELESS = {"IMA_ADPCM": "ima_adpcm", "MPEG": "mpeg", "GSM": "gsm"}

CARD = (
    "CARD, short-name=XenLab, long-name=Xen lab card, sample-rates="
    + ";".join(map(str, RATES))
    + ", sample-formats=s16_le, channels-max=2, buffer-size=262144"
)
PCM = ("PCM, name=Lab PCM", "STREAM, unique-id=play, type=p", "STREAM, unique-id=cap, type=c")
VSND = f"vsnd = [ [ {', '.join(repr(text) for text in (CARD, *PCM, *PCM, *PCM))} ] ]"
LOOPS = "timeout 110 python3 /run/lab/inside/loops.py"
# Few and long cycles: the emulator has work enough with 192 kHz.
OUTPUT = "loopback,delay=20ms,quantum=1024"


def run(lab: Lab) -> None:
    guest = Guest(vsnd=VSND)
    lab.explain_with(guest)
    with Daemon("backend-formats", "--output", OUTPUT, "--allow-microphone") as backend, guest:
        # libxl writes f32_le where the header and Linux say float_le: dom0 writes what the header
        # says, before the driver looks.
        names = ",".join([*FORMATS.values(), *FRAMELESS.values()])
        nodes = f"/local/domain/{guest.domid}/device/vsnd/0"
        command("xenstore-write", f"{nodes}/sample-formats", names)
        guest.must("modprobe snd_xen_front")
        wait_card(guest)
        with lab.scenario("kernel.all_formats_are_bit_exact") as figures:
            figures.append(loops(guest, "formats", len(FORMATS), *FORMATS))
        with lab.scenario("kernel.formats_without_frames_are_refused") as figures:
            told = guest.must(f"{LOOPS} refused hw:0,0 {' '.join(FRAMELESS)} 2> /dev/null")
            figures.append(" ".join(told.split()))
        with lab.scenario("kernel.all_rates_are_bit_exact") as figures:
            figures.append(loops(guest, "rates", len(RATES), *map(str, RATES)))
        several(lab, guest)
        expect("Traceback" not in backend.log(), "a traceback in the backend's log")


def loops(guest: Guest, what: str, count: int, *names: str) -> str:
    told = guest.must(f"{LOOPS} {what} hw:0,0 {' '.join(names)}")
    print(told, flush=True)
    equal_bytes = [int(number) for number in re.findall(r": (\d+) bytes equal", told)]
    expect(
        len(equal_bytes) == count and all(equal_bytes),
        f"{len(equal_bytes)} of {count}: {told[-300:]}",
    )
    return f"{count} {what}, {sum(equal_bytes)} bytes equal"


def several(lab: Lab, guest: Guest) -> None:
    with lab.scenario("kernel.three_devices_of_a_card_at_once") as figures:
        devices = ("hw:0,0", "hw:0,1", "hw:0,2")
        told = guest.must(f"{LOOPS} together {' '.join(devices)}")
        equal_bytes = [int(number) for number in re.findall(r": (\d+) bytes equal", told)]
        expect(len(equal_bytes) == 3, told)
        figures.append(f"6 streams, {sum(equal_bytes)} bytes equal")
    with lab.scenario("kernel.has_room_for_one_card") as figures:
        # xen_snd_front_alsa.c asks ALSA for the card number 0, whatever is there already.
        command("xl", "vsnd-attach", guest.name, CARD, *PCM)
        refusal = "cannot find the slot for index 0"
        took = wait_until(lambda: refusal in guest.run("dmesg").output, "the driver's refusal")
        figures.append(f"{refusal} after {took:.1f} s")
        figures.append(f"the first card: {loops(guest, 'formats', 1, 'S16_LE')}")
