"""PipeWire in dom0 plays a guest on an emulated HDA card, which writes a WAV file outside.

The runner compares that file with what the guest played: what came out of the loudspeaker.
"""

from __future__ import annotations

import time
from pathlib import Path

from cards import wait_card
from dom0 import OUT, Daemon, Lab, compare_frames, expect, finished, wait_until
from guest import Guest, command
from kernel_front import FRAMES, RAW, STREAMS, periods

CARD = (
    "CARD, short-name=XenLab, long-name=Xen lab card, sample-rates=48000, "
    "sample-formats=s16_le, channels-max=2, buffer-size=262144"
)
VSND = f"vsnd = [ [ {', '.join(repr(text) for text in (CARD, *STREAMS))} ] ]"
# A cycle that the emulator comes to late is a cycle that PipeWire loses: so few and long ones.
QUANTUM_FRAMES = 4096
# The card runs in real time, the emulated processor does not: PipeWire shall write so much further
# ahead of it. WirePlumber asks for that in a virtual machine, but with a buffer of 32 periods of
# 256 frames, in which two of our quanta fit and nothing more. What is late is lost in dom0: the
# card has an underrun, and PipeWire starts it anew without what it still held.
CARD_PROPERTIES = {"api.alsa.headroom": 8192, "api.alsa.period-size": 1024}
IN_LUA = ", ".join(f'["{key}"] = {value}' for key, value in CARD_PROPERTIES.items())
IN_JSON = " ".join(f"{key} = {value}" for key, value in CARD_PROPERTIES.items())
RULES = {
    # WirePlumber 0.4
    "main.lua.d/51-lab-card.lua": f"""table.insert(alsa_monitor.rules, {{
  matches = {{ {{ {{ "node.name", "matches", "alsa_output.*" }} }} }},
  apply_properties = {{ {IN_LUA} }},
}})
""",
    # and 0.5
    "wireplumber.conf.d/51-lab-card.conf": f"""monitor.alsa.rules = [ {{
  matches = [ {{ node.name = "~alsa_output.*" }} ]
  actions = {{ update-props = {{ {IN_JSON} }} }}
}} ]
""",
}
SESSION = "export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus;"


def shell(script: str) -> str:
    return command("bash", "-c", f"{SESSION} {script}", timeout_sec=120).output


def asleep() -> bool:
    """Whether PipeWire has closed the card."""
    states = [path.read_text() for path in Path("/proc/asound/card0").glob("pcm*p/sub*/status")]
    return bool(states) and all(state.strip() == "closed" for state in states)


def write_rules() -> None:
    for name, rule in RULES.items():
        path = Path("/etc/wireplumber", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rule)


def run(lab: Lab) -> None:
    with lab.scenario("host.pipewire_has_a_card") as figures:
        shell("modprobe -a snd-hda-intel snd-hda-codec-generic; sleep 1; ls /dev/snd")
        write_rules()
        shell("PW_UDEV=1; . /run/lab/inside/pw-start > /dev/null 2>&1 < /dev/null")
        wait_until(lambda: "alsa_output" in shell("pw-cli ls Node"), "a sink")
        shell("wpctl set-volume @DEFAULT_AUDIO_SINK@ 1.0; wpctl set-mute @DEFAULT_AUDIO_SINK@ 0")
        shell(f"pw-metadata -n settings 0 clock.force-quantum {QUANTUM_FRAMES}")
        status = shell("wpctl status; amixer -c 0; cat /proc/asound/cards")
        (OUT / "host-status.txt").write_text(status)
        sink = shell("wpctl inspect @DEFAULT_AUDIO_SINK@")
        for key, value in CARD_PROPERTIES.items():
            expect(f'{key} = "{value}"' in sink, f"{key} is not {value} in: {sink}")
        figures.append(next(line for line in status.splitlines() if "vol:" in line).strip(" │"))
    arguments = ("--output", "pipewire", "--record", str(OUT / "host-play.wav"))
    with Daemon("backend-pipewire", *arguments) as backend, Guest(vsnd=VSND) as guest:
        guest.must("modprobe snd_xen_front")
        wait_card(guest)
        with lab.scenario("host.plays_a_kernel_guest") as figures:
            # The card sleeps: it is opened while the guest's START waits. From then on Linux gives
            # a blocked write max(100 ms, 1.1 buffers), in which the host's delay and a period
            # must fit (pcm_lib.c, wait_for_avail).
            wait_until(asleep, "the host's card sleeps")
            started = time.monotonic()
            output = guest.must(f"timeout 110 aplay {RAW} {periods(4096, 8)} {FRAMES}")
            recorded = finished(OUT / "host-play.wav")
            figures.append(compare_frames(recorded, lab.frames, silence_between=True))
            figures.append(f"aplay took {time.monotonic() - started:.1f} s")
            figures.append(f"{output.count('underrun')} underruns")
        with lab.scenario("host.guest_halts") as figures:
            figures.append(f"{guest.halt():.1f} s")
        expect("Traceback" not in backend.log(), "a traceback in the backend's log")
