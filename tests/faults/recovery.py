"""One row of the recovery table: a fault, and what everybody noticed of it."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from interop.sound import RATE
from xenpvaudio.sound.compare import compare
from xenpvaudio.testbed.loudspeaker import Loudspeaker
from xenpvaudio.testbed.noise_player import noise
from xenpvaudio.testbed.testbed import SINK, Testbed

from .matrix import FAULTS, Fault
from .place import FRAME_BYTES, PEAK, Place, eventually, loudest, sounds

PROBE_FRAMES = 36000
PROBES = 3
TRUE_FRAMES = 96  # 2 ms: told and true delay, the loudspeaker's time of arrival among them
DRAIN_SEC = 0.3
MOST_LINES = 30


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from the peer's return until it is heard, and recorded, again; None: it never was
    silent. `click`: the loudest sample, of the signal's. Delays in frames."""

    name: str
    node_stayed: bool
    applications_lived: bool
    played_sec: float | None
    recorded_sec: float | None
    click: float
    told_frames: float | None
    true_frames: float | None
    said: str
    lines: int
    trace: bool

    def faults(self) -> list[str]:
        return list(self._faults(FAULTS[self.name]))

    def _faults(self, fault: Fault) -> Iterator[str]:
        if fault.node and not self.node_stayed:
            yield "the node is another one"
        if fault.node and not self.applications_lived:
            yield "an application has ended"
        if fault.goes_on and fault.node and self.played_sec is not None:
            yield "sound stopped"
        if self.click > 1.0:
            yield f"a click, {self.click:.2f} times as loud as the signal"
        if self.told_frames is None or self.true_frames is None:
            yield "no delay could be measured"
        elif abs(self.told_frames - self.true_frames) > TRUE_FRAMES:
            yield f"{self.told_frames:.0f} frames are told, {self.true_frames:.0f} are true"
        if fault.words and not self.said:
            yield f'nobody says "{fault.words}"'
        if self.lines > MOST_LINES:
            yield f"{self.lines} log lines"
        if self.trace:
            yield "a traceback"


def _delay(bed: Testbed, speaker: Loudspeaker) -> tuple[float, float] | None:
    """Told and true, in frames; None if sound had gaps meanwhile, which moves it."""
    first = speaker.frames
    command = [sys.executable, "-m", "xenpvaudio.testbed.noise_player", "--target", SINK]
    command += ["--frames", str(PROBE_FRAMES)]
    done = bed.guest.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    time.sleep(DRAIN_SEC)
    marks: list[list[int]] = json.loads(done.stdout)["marks"]
    sent = noise(PROBE_FRAMES, 2).tobytes()
    found = compare(sent, speaker.data(first), FRAME_BYTES, bytes(FRAME_BYTES))
    start, settled = found.first_received_frame, marks[len(marks) // 2 :]
    if not found.bit_exact or found.gaps or start is None or not settled:
        return None
    told, true = [], []
    for frame, cycle_nsec, told_nsec in settled:
        played_nsec = speaker.played_nsec(first + start + frame)
        if played_nsec is not None:
            told.append((told_nsec - cycle_nsec) * RATE / 1e9)
            true.append((played_nsec - cycle_nsec) * RATE / 1e9)
    return statistics.median(told), statistics.median(true)


def settled_delay(bed: Testbed, speaker: Loudspeaker) -> tuple[float, float] | None:
    """Told and true, in frames, to where the host plays: the first that is true, or the last one,
    for clocks take a moment to lock."""
    found = None
    for _ in range(PROBES):
        found = _delay(bed, speaker) or found
        if found is not None and abs(found[0] - found[1]) <= TRUE_FRAMES:
            break
    return found


def measure(place: Place, name: str) -> Recovery:
    """The place is whole again when it returns."""
    fault = FAULTS[name]
    place.start_applications()
    (ear, *_) = place.ears
    sink = place.serial()
    logs = {role: len(place.bed.log(role)) for role in ("frontend", "backend")}
    began = ear.frames
    with fault.broken(place):
        if not fault.goes_on:
            place.wait_silence()
        broke = [other.frames for other in place.ears]
        if fault.goes_on:
            time.sleep(0.3)
    mended = time.monotonic()
    if not fault.node:
        lived = True
        place.stop_applications()
        eventually(place.bed.node, place.state)
        broke = [ear.frames, 0]
        place.start_applications()
    times: list[float | None] = [None, None]
    if fault.goes_on and fault.node:
        if not sounds(ear, broke[0]):
            place.wait_sound()
            times[0] = time.monotonic() - mended
    else:
        for number, other in enumerate(place.ears):
            eventually(lambda o=other, n=number: sounds(o, broke[n]), place.state)
            times[number] = max(0.0, time.monotonic() - mended)
    if fault.node:
        lived = place.applications_live
    time.sleep(0.3)
    click = max(loudest(ear, began), *(loudest(other, 0) for other in place.ears[1:])) / PEAK
    stayed = place.serial() == sink
    place.stop_applications()
    place.wait_silence()
    assert place.bed.loudspeaker is not None
    found = settled_delay(place.bed, place.bed.loudspeaker)
    said = {role: place.bed.log(role)[logs[role] :].splitlines() for role in logs}
    words = [line for line in said.get(fault.log, []) if fault.words in line]
    everything = [line for lines in said.values() for line in lines]
    return Recovery(
        name,
        stayed,
        lived,
        times[0],
        times[1],
        click,
        None if found is None else found[0],
        None if found is None else found[1],
        words[0].removeprefix("xen-pv-audio: ") if words else "",
        len(everything),
        any("Traceback" in line for line in everything),
    )


HEAD = (
    "| fault | node | heard again, s | recorded again, s | loudest | frames told, true | log |\n"
    "|---|---|---|---|---|---|---|"
)


def line(r: Recovery) -> str:
    """Of the table."""

    def seconds(value: float | None) -> str:
        return "never silent" if value is None else f"{value:.2f}"

    def frames(value: float | None) -> str:
        return "?" if value is None else f"{value:.0f}"

    node = "stayed" if r.node_stayed else "made anew"
    return (
        f"| {r.name} | {node} | {seconds(r.played_sec)} | {seconds(r.recorded_sec)} "
        f"| {r.click:.2f} | {frames(r.told_frames)}, {frames(r.true_frames)} | {r.said} |"
    )
