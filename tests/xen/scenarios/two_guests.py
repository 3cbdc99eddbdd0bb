"""Two guests at the same time, one with the kernel's frontend and one with ours.

Both play, each its own frames; what happens to one must not be heard in the other's recording.
"""

from __future__ import annotations

import time

from dom0 import OUT, Daemon, Lab, expect, wait_until
from guest import Guest
from our_front import SESSION, SINK, frontend_state, nodes
from parts import (
    RATE,
    RAW,
    Part,
    backend,
    forget,
    growing,
    heard,
    heard_so_far,
    heard_the_rest,
    kernel_card,
    recording,
    sounds,
    vsnd,
)

SHORT, LONG = 4, 8
APLAY = f"timeout 60 aplay {RAW} /tmp/part.raw"
PW_PLAY = f"{SESSION} timeout 60 pw-play --target {SINK} /tmp/part.wav 2>&1"
FRONTEND = (
    f"setsid xen-pv-audio frontend -v --rate {RATE} --quantum-frames 2048 --period-frames 1024 "
    "--lead-frames 8192 >> $OUT/frontend.log 2>&1 < /dev/null & echo $! > /tmp/frontend.pid;"
)

KILLER = """
import os, time
from xenpvaudio.xen.connect import real_domain
store = real_domain(lambda function, *arguments: function(*arguments)).store
state = store.read("device/vsnd/0/backend") + "/state"
assert store.read(state) == "4"
os.kill(int(open("/tmp/frontend.pid").read()), 9)
begun = time.monotonic()
while store.read(state) != "2" and time.monotonic() - begun < 5:
    time.sleep(0.01)
print(time.monotonic() - begun, store.read("device/vsnd/0/state"))
"""


def run(lab: Lab) -> None:
    kernel = Guest("kernel", vsnd=vsnd())
    ours = Guest("ours", vsnd=vsnd(1 << 17), index=1)
    try:
        with backend("backend-two") as daemon:
            with lab.scenario("two.guests_are_connected") as figures:
                started = time.monotonic()
                kernel.start()
                ours.start()
                kernel_card(kernel)
                start_ours(ours)
                figures.append(f"{time.monotonic() - started:.0f} s")
            together(lab, kernel, ours)
            with lab.scenario("ours.killed_frontend_is_noticed_within_a_second") as figures:
                figures.append(kill_frontend(ours, daemon))
            ours.must(f"{SESSION} {FRONTEND}")
            wait_until(lambda: SINK in nodes(ours), "the sink again", 60)
            backend_killed(lab, kernel, ours, daemon)
            expect("Traceback" not in daemon.log(), "a traceback in the backend's log")
        with backend("backend-two-again") as daemon:
            destroyed(lab, kernel, ours)
            expect("Traceback" not in daemon.log(), "a traceback in the backend's log")
    finally:
        for guest in (ours, kernel):
            if guest.domid is not None:
                guest.destroy()


def start_ours(guest: Guest) -> None:
    """PipeWire at the card's own rate, and our frontend."""
    guest.must(
        "echo 'blacklist snd_xen_front' > /etc/modprobe.d/xen-pv-audio.conf;"
        "mkdir -p /etc/pipewire/pipewire.conf.d; echo 'context.properties = {"
        f" default.clock.rate = {RATE} default.clock.allowed-rates = [ {RATE} ]"
        " }' > /etc/pipewire/pipewire.conf.d/lab.conf;"
        f". /run/lab/inside/pw-start > /dev/null; sleep 3; {SESSION} {FRONTEND}",
        90,
    )
    try:
        wait_until(lambda: frontend_state(guest) == "4", "Connected", 40)
        wait_until(lambda: SINK in nodes(guest), "the sink", 20)
    finally:
        keep_log(guest)


def keep_log(guest: Guest) -> None:
    log = guest.run("tail -c 40000 $OUT/frontend.log; tail -n 5 $OUT/pw-*.log").output
    (OUT / f"{guest.name}-frontend.log").write_text(log)


def together(lab: Lab, kernel: Guest, ours: Guest) -> None:
    with lab.scenario("two.play_at_once_bit_exact") as figures:
        parts = {kernel.name: Part(0, SHORT), ours.name: Part(72000, SHORT)}
        for guest in (kernel, ours):
            parts[guest.name].make(guest)
        idents = [ours.console.start(PW_PLAY)]
        wait_until(lambda: sounds(ours), "our guest's sound", 20)
        idents.insert(0, kernel.console.start(APLAY))
        wait_until(lambda: sounds(kernel), "the kernel guest's sound", 20)
        grown = growing([kernel, ours])
        expect(min(grown) > 0, f"not at once: they grew by {grown} octets in a second")
        figures.append(f"grew by {grown[0]} and {grown[1]} octets in one second")
        for guest, ident in zip((kernel, ours), idents, strict=True):
            done = guest.console.result(ident, 90)
            expect(done.status == 0, f"{guest.name}: {done.output[-300:]}")
            expect("underrun" not in done.output, f"{guest.name}: {done.output[-300:]}")
        time.sleep(0.5)
        keep_log(ours)
        figures.append(f"kernel: {heard(lab, kernel, parts[kernel.name])}")
        figures.append(f"ours: {heard(lab, ours, parts[ours.name], late=True)}")


def kill_frontend(guest: Guest, daemon: Daemon) -> str:
    """Seconds from the kill to the backend's InitWait while it plays, by the guest's own clock."""
    Part(72000, LONG - SHORT).make(guest)
    ident = guest.console.start(f"{SESSION} timeout 12 pw-play --target {SINK} /tmp/part.wav")
    wait_until(lambda: sounds(guest), "its sound", 20)
    said = guest.must(f"/opt/xen-pv-audio/bin/python3 - <<'END'\n{KILLER}END").split()
    took, state = float(said[0]), said[1]
    expect(took < 1, f"InitWait after {took:.2f} s")
    expect(state == "4", f"XenStore says {state}: was it the state that told?")
    expect("frontend has died" in daemon.log(), "the backend has not said why")
    guest.console.result(ident, 40)
    return f"InitWait {took * 1e3:.0f} ms after the kill"


def backend_killed(lab: Lab, kernel: Guest, ours: Guest, daemon: Daemon) -> None:
    """Only ours plays: Linux' driver, told to start again while its stream is open, crashes."""
    part = Part(0, 9)
    with lab.scenario("two.backend_killed_while_ours_plays") as figures:
        forget(ours)
        part.make(ours)
        ident = ours.console.start(PW_PLAY)
        wait_until(lambda: sounds(ours), "its sound", 20)
        time.sleep(1)  # silence comes first; and what is on the file's way is lost with the backend
        daemon.kill()
        before = heard_so_far(lab, ours, part)
        recording(ours).rename(recording(ours).with_suffix(".killed.wav"))
        with backend("backend-two-next") as second:
            figures.append(f"next backend {second.ready_sec:.1f} s later")
            done = ours.console.result(ident, 60)
            expect(done.status == 0, done.output[-300:])
            time.sleep(0.5)
            rest = heard_the_rest(lab, ours, part)
            expect(rest >= before, f"frame {rest} again: {before} had been heard")
            figures.append(f"pw-play went on: heard 0..{before - 1}, then {rest}..{part.count - 1}")
            expect("Traceback" not in second.log(), "a traceback in the backend's log")
            with lab.scenario("two.kernel_guest_plays_with_the_next_backend") as again:
                kernel_card(kernel)
                forget(kernel)
                output = kernel.must(APLAY, 60)
                expect("underrun" not in output, output[-200:])
                time.sleep(0.3)
                again.append(heard(lab, kernel, Part(0, SHORT)))


def destroyed(lab: Lab, kernel: Guest, ours: Guest) -> None:
    parts = {kernel.name: Part(0, LONG), ours.name: Part(72000, SHORT)}

    def begin() -> list[str]:
        for guest in (kernel, ours):
            forget(guest)
            parts[guest.name].make(guest)
        idents = [kernel.console.start(APLAY), ours.console.start(PW_PLAY)]
        wait_until(lambda: sounds(kernel) and sounds(ours), "the sound of both", 20)
        expect(min(growing([kernel, ours], 0.5)) > 0, "they do not play at once")
        return idents

    def end(guest: Guest, ident: str) -> str:
        done = guest.console.result(ident, 60)
        expect(done.status == 0 and "underrun" not in done.output, done.output[-300:])
        time.sleep(0.5)
        return f"the other: {heard(lab, guest, parts[guest.name], late=guest is ours)}"

    def cut(guest: Guest) -> str:
        return f"the destroyed one: {heard_so_far(lab, guest, parts[guest.name])} frames in order"

    with lab.scenario("two.kernel_guest_destroyed_while_it_plays") as figures:
        idents = begin()
        figures.append(f"xl destroy {kernel.destroy():.1f} s")
        figures += [end(ours, idents[1]), cut(kernel)]
    with lab.scenario("two.ours_destroyed_while_it_plays") as figures:
        kernel.start()
        kernel_card(kernel)
        idents = begin()
        figures.append(f"xl destroy {ours.destroy():.1f} s")
        figures += [end(kernel, idents[0]), cut(ours)]
