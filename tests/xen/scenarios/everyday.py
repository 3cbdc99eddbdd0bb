"""Our frontend in a guest, our backend with a PipeWire in dom0 that has a microphone, into which
somebody talks, and a loudspeaker, which is recorded: what a person does every day, by what is
heard. The microphone is given and taken while the guest records; the volume is set in the guest
while it plays.
"""

from __future__ import annotations

import time
import wave
from array import array
from collections.abc import Callable
from pathlib import Path

from dom0 import OUT, PROGRAM, Daemon, Lab, ScenarioError, expect, wait_until, wav_data
from frames import rounds
from guest import LAB, Guest, command
from our_front import PW_PLAY, QUANTUM_FRAMES, SESSION, VSND, keep_logs, started_frontend
from players import EndlessPipeWire
from round_trip import SOURCE

from xenpvaudio.sndif.volume import to_linear, to_steps
from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.loudspeaker import Loudspeaker

RATE = 48000
FRAME_BYTES = 4  # S16 stereo: what is played, and said
HEARD_BYTES = 8  # of floats, as the loudspeaker gets them
RECORD = OUT / "everyday-play.wav"
MICROPHONE = """
context.objects = [
  { factory = adapter args = {
      factory.name = support.null-audio-sink
      node.name = microphone
      media.class = Audio/Source/Virtual
      audio.channels = 2
      audio.position = [ FL FR ]
      object.linger = true } }
]
"""
TALK_SEC = 240
TALKER = "pw-play --target 0 -P '{ node.name = talker }' /tmp/talk.wav"
RECORDER = (
    f"{SESSION} timeout 230 pw-record --target {SOURCE} --format s16 --rate {RATE} --channels 2 "
    "/tmp/rec.wav"
)
JUDGE = "python3 /run/lab/inside/frames.py /tmp/rec.wav /run/lab/job/frames.raw microphone"
# What is on its way between the order and the file: the frontend's buffer and some of its cycles.
ON_ITS_WAY_FRAMES = 2 * RATE
# What PipeWire makes of 50 %, by PulseAudio's cubic curve.
HALF = 0.125


def run(lab: Lab) -> None:
    speaker = Loudspeaker(LAB / "loudspeaker", HEARD_BYTES, RATE)
    with lab.scenario("everyday.dom0_has_a_microphone_and_a_loudspeaker") as figures:
        figures.append(start_host(speaker))
    guest = Guest(vsnd=VSND)
    lab.explain_with(guest)
    arguments = ("--output", "pipewire", "--record", str(RECORD))
    with Daemon("backend-everyday", *arguments) as backend, guest:
        try:
            with lab.scenario("everyday.card_appears") as figures:
                figures += started_frontend(guest)
            with lab.scenario("everyday.microphone_given_and_taken_while_it_records") as figures:
                figures += microphone(lab, guest)
            with lab.scenario("everyday.volume_of_the_guest_is_heard_in_dom0") as figures:
                figures += volume(lab, guest, speaker)
        finally:
            keep_logs(guest)
        expect("Traceback" not in backend.log(), "a traceback in the backend's log")


def shell(script: str) -> str:
    return command("bash", "-c", f"{SESSION} {script}").output


def start_host(speaker: Loudspeaker) -> str:
    folder = Path("/etc/pipewire/pipewire.conf.d")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lab-loudspeaker.conf").write_text(pwconf.pipe_sink(speaker.fifo))
    (folder / "lab-microphone.conf").write_text(MICROPHONE)
    shell(". /run/lab/inside/pw-start > /dev/null 2>&1 < /dev/null")

    def there() -> bool:
        listed = shell("wpctl status > /dev/null 2>&1 && pw-cli ls Node || true")
        return '"recording-loudspeaker"' in listed and '"microphone"' in listed

    took = wait_until(there, "dom0's session")
    shell(f"pw-metadata -n settings 0 clock.force-quantum {QUANTUM_FRAMES}")
    return f"{took:.1f} s"


# -- the microphone


def microphone(lab: Lab, guest: Guest) -> list[str]:
    talk(lab)
    ident = guest.console.start(RECORDER)
    try:
        grows(guest, 2 * RATE)
        before = recorded_frames(guest)
        ordered("allow", guest)
        allowed = recorded_frames(guest)
        grows(guest, 3 * RATE)
        ordered("deny", guest)
        denied = recorded_frames(guest)
        grows(guest, ON_ITS_WAY_FRAMES + 2 * RATE)
    finally:
        guest.run("pkill -INT -x pw-record")
        command("pkill", "-x", "pw-play", check=False)
    guest.console.result(ident, 120)
    told = guest.must(JUDGE)
    first, end, silent = map(int, told.split())
    sound = end - first - silent
    expect(first >= before, f"sound from frame {first} on, allowed after {before}")
    expect(end <= denied + ON_ITS_WAY_FRAMES, f"sound until {end}, denied before {denied}")
    expect(sound >= RATE, f"{sound} frames of sound between {first} and {end}")
    return [
        f"silent until it was allowed ({first} frames)",
        f"then {sound} frames as they were said, the first {(first - allowed) / RATE:+.2f} s and "
        f"the last {(end - denied) / RATE:+.2f} s after the order was done",
        f"then silence ({recorded_frames(guest) - end} frames)",
    ]


def talk(lab: Lab) -> None:
    """Numbered frames, over and over, into dom0's microphone."""
    with wave.open("/tmp/talk.wav", "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        for _ in range(TALK_SEC * RATE * FRAME_BYTES // len(lab.frames)):
            file.writeframes(lab.frames)
    shell(f"setsid {TALKER} > $OUT/talker.log 2>&1 < /dev/null &")
    for side in ("FL", "FR"):
        link = ("pw-link", f"talker:output_{side}", f"microphone:input_{side}")
        wait_until(lambda link=link: command(*link, check=False).status == 0, "who talks")


def recorded_frames(guest: Guest) -> int:
    """In the guest's recording so far."""
    size = guest.must("stat -c %s /tmp/rec.wav 2> /dev/null || echo 44")
    return max(0, int(size) - 44) // FRAME_BYTES


def grows(guest: Guest, frames: int) -> None:
    until = recorded_frames(guest) + frames
    wait_until(lambda: recorded_frames(guest) >= until, f"{frames} more frames of the microphone")


def ordered(word: str, guest: Guest) -> None:
    said = command(PROGRAM, "mic", word, guest.name).output
    expect(f"{guest.name}: microphone" in said, said)


# -- the volume


def volume(lab: Lab, guest: Guest, speaker: Loudspeaker) -> list[str]:
    part = lab.frames[: RATE * FRAME_BYTES]
    guest.must(f"head -c {len(part)} /run/lab/job/frames.raw > /tmp/part.raw")
    player = EndlessPipeWire(guest, PW_PLAY, RATE)
    figures = []

    def until(true: Callable[[], bool], what: str) -> None:
        player.until(true, what)

    def at(step: str, linear: float) -> None:
        """All of a second is exactly so loud, from the first time on that a part of it is."""
        wanted = louder(part, linear)
        try:
            until(lambda: is_at(speaker, wanted), f"{step}: its volume")
        except ScenarioError as error:
            raise ScenarioError(f"{error}; {how_loud(speaker, wanted)}") from None
        sound = exactly(window(speaker, RATE, until), wanted)
        figures.append(f"{step}: {sound} of {RATE} frames times {linear:.6f}")

    try:
        at("100 %", 1.0)
        guest.must(f"{SESSION} wpctl set-volume @DEFAULT_AUDIO_SINK@ 0.5")
        at("50 %", to_linear(to_steps(HALF)))
        guest.must(f"{SESSION} wpctl set-mute @DEFAULT_AUDIO_SINK@ 1")
        until(lambda: not any(window(speaker, RATE // 4, until)), "mute: silence")
        given = len(wav_data(RECORD))
        expect(not any(window(speaker, RATE, until)), "mute: it is heard again")
        figures.append(f"mute: silence, while {came(given, part)} frames came as they were played")
        guest.must(f"{SESSION} wpctl set-mute @DEFAULT_AUDIO_SINK@ 0")
        at("unmuted", to_linear(to_steps(HALF)))
    finally:
        player.kill()
    return figures


def louder(part: bytes, linear: float) -> bytes:
    """As the loudspeaker gets it: PipeWire multiplies each sample once, by a float."""
    (factor,) = array("f", [linear])
    return array("f", [sample / 32768 * factor for sample in array("h", part)]).tobytes()


def window(
    speaker: Loudspeaker, frames: int, until: Callable[[Callable[[], bool], str], None]
) -> bytes:
    """What it plays next."""
    first = speaker.frames
    until(lambda: speaker.frames >= first + frames, "the loudspeaker plays")
    return speaker.data(first)[: frames * HEARD_BYTES]


def exactly(heard: bytes, wanted: bytes) -> int:
    """How many frames sound; DifferentError if one is not among the wanted, or not in its place."""
    first, end, silent = rounds(heard, wanted, HEARD_BYTES)
    sound = end - first - silent
    expect(2 * sound > len(heard) // HEARD_BYTES, f"{sound} frames of sound in {len(heard)} bytes")
    return sound


def is_at(speaker: Loudspeaker, wanted: bytes) -> bool:
    """Whether the last twentieth of a second was so. To look frame by frame costs what the emulated
    processor needs for sound, and then there is no such twentieth."""
    heard = speaker.data(max(0, speaker.frames - RATE // 20))
    if any(heard) and heard in wanted * 2:
        return True
    time.sleep(0.5)
    return False


def how_loud(speaker: Loudspeaker, wanted: bytes) -> str:
    heard = array("f", speaker.data(max(0, speaker.frames - RATE)))
    loudest = max(map(abs, heard), default=0.0) / max(array("f", wanted))
    played_sec = speaker.frames / RATE
    return f"the last second is {loudest:.6f} times as loud as it is to be, {played_sec:.1f} s came"


def came(given_bytes: int, part: bytes) -> int:
    """What the backend was given since, before the host's volume; every frame as it was."""
    first, end, silent = rounds(wav_data(RECORD)[given_bytes:], part)
    expect(end - first - silent > RATE // 2, f"only {end - first - silent} frames came")
    return end - first - silent
