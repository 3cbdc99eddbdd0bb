"""PipeWire in dom0 plays a guest on an emulated HDA card, which writes a WAV file outside.

The runner compares that file with what the guest played: what came out of the loudspeaker.
"""

from __future__ import annotations

import time
import wave

from dom0 import OUT, Daemon, Lab, compare_frames, expect, wait_until, wav_data
from guest import Guest, command
from kernel_front import FRAMES, RAW, VSND, periods, wait_connected

SESSION = "export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus;"


def shell(script: str) -> str:
    return command("bash", "-c", f"{SESSION} {script}", timeout_sec=120).output


def run(lab: Lab) -> None:
    with lab.scenario("host.pipewire_has_a_card") as figures:
        shell("modprobe -a snd-hda-intel snd-hda-codec-generic; sleep 1; ls /dev/snd")
        shell("PW_UDEV=1; . /run/lab/inside/pw-start > /dev/null 2>&1 < /dev/null")
        wait_until(lambda: "alsa_output" in shell("pw-cli ls Node"), "a sink", 60)
        shell("wpctl set-volume @DEFAULT_AUDIO_SINK@ 1.0; wpctl set-mute @DEFAULT_AUDIO_SINK@ 0")
        status = shell("wpctl status; amixer -c 0; cat /proc/asound/cards")
        (OUT / "host-status.txt").write_text(status)
        figures.append(next(line for line in status.splitlines() if "vol:" in line).strip(" │"))
    # Silence keeps the card awake: opening it takes the emulator longer than Linux waits (below).
    with wave.open("/tmp/silence.wav", "wb") as file:
        file.setparams((2, 2, 48000, 0, "NONE", ""))
        file.writeframes(bytes(4 * 48000 * 60))
    shell("pw-play /tmp/silence.wav > /dev/null 2>&1 < /dev/null &")
    arguments = ("--output", "pipewire", "--record", str(OUT / "host-play.wav"))
    with Daemon("backend-pipewire", *arguments) as backend, Guest(vsnd=VSND) as guest:
        guest.must("modprobe snd_xen_front")
        wait_connected(guest)
        guest.must("sleep 1")
        with lab.scenario("host.plays_a_kernel_guest") as figures:
            started = time.monotonic()
            # Linux gives a blocked write max(100 ms, 1.1 buffers), then EIO (pcm_lib.c,
            # wait_for_avail): in that time the host's start, its delay (250 ms here) and one
            # period must fit. Hence small periods in a long buffer.
            output = guest.must(f"timeout 60 aplay {RAW} {periods(1024, 16)} {FRAMES}", 90)
            time.sleep(0.3)
            recorded = wav_data(OUT / "host-play.wav")
            figures.append(compare_frames(recorded, lab.frames, silence_between=True))
            figures.append(f"aplay took {time.monotonic() - started:.1f} s")
            figures.append(f"{output.count('underrun')} underruns")
        with lab.scenario("host.guest_halts") as figures:
            figures.append(f"{guest.halt():.1f} s")
        expect("Traceback" not in backend.log(), "a traceback in the backend's log")
