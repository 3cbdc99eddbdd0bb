"""Two guests at the same time, one with the kernel's frontend and one with ours.

Both play, each its own frames; what happens to one must not be heard in the other's recording.
"""

from __future__ import annotations

import time

from cards import wait_card, wait_connected
from dom0 import OUT, Daemon, Lab, expect, wait_until
from guest import Guest
from our_front import SESSION, SINK, nodes
from parts import (
    FRAME_BYTES,
    LONG_BUFFER,
    RATE,
    Part,
    backend,
    forget,
    heard,
    heard_marked,
    heard_rounds,
    kernel_card,
    played,
    raw,
    recording,
    sounds,
    vsnd,
    wait_growing,
)
from players import Endless, EndlessPipeWire, sounding

SECONDS = 4
LONG_PLAY = f"{SESSION} timeout 230 pw-play --target {SINK}"
# A second ahead: so long an emulated guest of a new kernel stands still while another one starts.
FRONTEND = (
    f"setsid xen-pv-audio frontend -v --rate {RATE} --quantum-frames 2048 --period-frames 1024 "
    "--buffer-frames 32768 --lead-frames 16384 >> $OUT/frontend.log 2>&1 < /dev/null & "
    "echo $! > /tmp/frontend.pid;"
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
    kernel = Guest("kernel", vsnd=vsnd(LONG_BUFFER * FRAME_BYTES))
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
            together(lab, daemon, kernel, ours)
            with lab.scenario("ours.killed_frontend_is_noticed_within_a_second") as figures:
                figures.append(kill_frontend(ours, daemon))
            ours.must(f"{SESSION} {FRONTEND}")
            wait_until(lambda: SINK in nodes(ours), "the sink again")
            backend_killed(lab, kernel, ours, daemon)
            expect("Traceback" not in daemon.log(), "a traceback in the backend's log")
        with backend("backend-two-again") as daemon:
            destroyed(lab, daemon, kernel, ours)
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
        wait_connected(guest)
        wait_until(lambda: SINK in nodes(guest), "the sink")
    finally:
        keep_log(guest)


def keep_log(guest: Guest) -> None:
    log = guest.run("tail -c 40000 $OUT/frontend.log; tail -n 5 $OUT/pw-*.log").output
    (OUT / f"{guest.name}-frontend.log").write_text(log)


def together(lab: Lab, daemon: Daemon, kernel: Guest, ours: Guest) -> None:
    with lab.scenario("two.play_at_once_bit_exact") as figures:
        parts = {kernel.name: Part(0, SECONDS), ours.name: Part(72000, SECONDS)}
        for guest in (kernel, ours):
            parts[guest.name].make(guest)
        players = both(daemon, kernel, ours)
        for guest in (kernel, ours):
            figures.append(f"{guest.name}: {ended(lab, guest, players[guest.name], parts)}")
        keep_log(ours)


def both(daemon: Daemon, kernel: Guest, ours: Guest) -> dict[str, Endless | EndlessPipeWire]:
    """They play, each its part, over and over, and at the same time."""
    players: dict[str, Endless | EndlessPipeWire] = {}
    players[ours.name] = EndlessPipeWire(ours, LONG_PLAY, RATE)
    players[ours.name].until(lambda: sounds(ours), "our guest's sound")
    players[kernel.name], _ = sounding(kernel, raw(LONG_BUFFER), lambda: sounds(kernel), daemon.log)
    wait_growing([kernel, ours])
    return players


def ended(lab: Lab, guest: Guest, player: Endless | EndlessPipeWire, parts: dict[str, Part]) -> str:
    """Stops the player: what was heard is what it played."""
    part = parts[guest.name]
    if isinstance(player, EndlessPipeWire):
        player.stop()
        rounds = heard_rounds(lab, guest, part)
        expect(rounds > 0.5, f"{rounds:.1f} rounds")
        return f"{rounds:.1f} rounds, every frame in order"
    count, underruns = player.stop()
    return f"{heard(lab, guest, part, rounds=count, underruns=underruns)} in {count} rounds"


def kill_frontend(guest: Guest, daemon: Daemon) -> str:
    """Seconds from the kill to the backend's InitWait while it plays, by the guest's own clock."""
    forget(guest)
    Part(72000, SECONDS).make(guest)
    player = EndlessPipeWire(guest, LONG_PLAY, RATE)
    player.until(lambda: sounds(guest), "its sound")
    said = guest.must(f"/opt/xen-pv-audio/bin/python3 - <<'END'\n{KILLER}END").split()
    took, state = float(said[0]), said[1]
    expect(took < 1, f"InitWait after {took:.2f} s")
    expect(state == "4", f"XenStore says {state}: was it the state that told?")
    expect("frontend has died" in daemon.log(), "the backend has not said why")
    player.kill()
    return f"InitWait {took * 1e3:.0f} ms after the kill"


def backend_killed(lab: Lab, kernel: Guest, ours: Guest, daemon: Daemon) -> None:
    """Only ours plays: Linux' driver, told to start again while its stream is open, crashes."""
    part = Part(0, 9)
    with lab.scenario("two.backend_killed_while_ours_plays") as figures:
        forget(ours)
        part.make(ours)
        player = EndlessPipeWire(ours, LONG_PLAY, RATE, mark_rounds=True)
        # What is on the file's way is lost with the backend.
        player.until(lambda: sounds(ours), "its sound")
        daemon.kill()
        first, before = heard_marked(lab, ours, part)
        expect(first == 0, f"it began with frame {first}")
        recording(ours).rename(recording(ours).with_suffix(".killed.wav"))
        with backend("backend-two-next") as second:
            figures.append(f"next backend {second.ready_sec:.1f} s later")
            player.until(lambda: sounds(ours), "its sound again")
            player.stop()
            rest, last = heard_marked(lab, ours, part)
            expect(rest > before, f"frame {rest} again: {before} had been heard")
            figures.append(f"pw-play went on: heard 0..{before}, then {rest}..{last}")
            expect("Traceback" not in second.log(), "a traceback in the backend's log")
            with lab.scenario("two.kernel_guest_plays_with_the_next_backend") as again:
                wait_card(kernel, second.log)
                again.append(played(lab, kernel, Part(0, SECONDS)))


def destroyed(lab: Lab, daemon: Daemon, kernel: Guest, ours: Guest) -> None:
    parts = {kernel.name: Part(0, SECONDS), ours.name: Part(72000, SECONDS)}

    def begin() -> dict[str, Endless | EndlessPipeWire]:
        for guest in (kernel, ours):
            forget(guest)
            parts[guest.name].make(guest)
        return both(daemon, kernel, ours)

    def end(guest: Guest, player: Endless | EndlessPipeWire) -> str:
        wait_growing([guest])
        return f"the other: {ended(lab, guest, player, parts)}"

    def cut(guest: Guest) -> str:
        rounds = heard_rounds(lab, guest, parts[guest.name])
        return f"the destroyed one: {rounds:.1f} rounds in order"

    with lab.scenario("two.kernel_guest_destroyed_while_it_plays") as figures:
        players = begin()
        figures.append(f"xl destroy {kernel.destroy():.1f} s")
        figures += [end(ours, players[ours.name]), cut(kernel)]
    with lab.scenario("two.ours_destroyed_while_it_plays") as figures:
        kernel.start()
        kernel_card(kernel)
        players = begin()
        figures.append(f"xl destroy {ours.destroy():.1f} s")
        figures += [end(kernel, players[kernel.name]), cut(ours)]
