"""What one guest, or its configuration, does wrong costs nobody else anything.

One guest plays with the kernel's frontend, bit exact; beside it inside/hostile.py harms itself.
"""

from __future__ import annotations

import time

from cards import backend_state
from dom0 import Daemon, Lab, expect, wait_until
from guest import Guest, command
from parts import (
    FRAME_BYTES,
    LONG_BUFFER,
    Part,
    backend,
    forget,
    heard,
    kernel_card,
    played,
    raw,
    sounds,
    vsnd,
    wait_growing,
)
from players import sounding

HOSTILE = "timeout 280 /opt/xen-pv-audio/bin/python3 /run/lab/inside/hostile.py"
PART = Part(0, 4)
OTHER = Part(72000, 2)


def run(lab: Lab) -> None:
    kernel = Guest("honest", vsnd=vsnd(LONG_BUFFER * FRAME_BYTES))
    lab.explain_with(kernel)
    hostile = Guest("hostile", vsnd=vsnd(), index=1)
    with backend("backend-bad") as daemon, kernel, hostile:
        kernel_card(kernel)
        PART.make(kernel)
        OTHER.make(hostile)
        with lab.scenario("bad.stale_references_beside_a_player") as figures:
            figures += beside(lab, daemon, kernel, hostile, "stale 12")
            figures.append(one_of(daemon, hostile, "0/0/ring-ref = 9000"))
        with lab.scenario("bad.frontends_vanish_in_open_beside_a_player") as figures:
            figures += beside(lab, daemon, kernel, hostile, "vanish 3")
            expect(backend_state(hostile) == "2", f"the backend is {backend_state(hostile)}")
        with lab.scenario("bad.frontend_never_answers_beside_a_player") as figures:
            figures += beside(lab, daemon, kernel, hostile, "silent 1")
        mistakes(lab, daemon, hostile)
        with lab.scenario("bad.guest_may_play_after_all_that") as figures:
            # Linux' driver does not write this when it starts; its predecessor should have.
            hostile.must("xenstore-write device/vsnd/0/state 1")
            kernel_card(hostile)
            figures.append(played(lab, hostile, OTHER))
            hostile.must("echo vsnd-0 > /sys/bus/xen/drivers/vsnd/unbind; rmmod snd_xen_front")
        with lab.scenario("bad.guest_vanishes_in_open_beside_a_player") as figures:
            figures += beside(lab, daemon, kernel, hostile, "power")
            wait_until(lambda: hostile.domid is None, "the domain's end")
            took = wait_until(lambda: daemon.log().count(": gone") > 0, "its device's end")
            figures.append(f"forgotten {took:.1f} s later")
        expect("Traceback" not in daemon.log(), "a traceback in the backend's log")


def ended(guest: Guest) -> bool:
    """Whether the domain is shut down, or destroyed already."""
    listed = command("xl", "list", guest.name, check=False)
    return listed.status != 0 or "s" in listed.output.split()[-2]


def one_of(daemon: Daemon, guest: Guest, words: str) -> str:
    """A line of the backend's log that names this guest's device and has `words`."""
    mark = f"({guest.name}) vsnd/"
    lines = [line for line in daemon.log().splitlines() if mark in line and words in line]
    expect(bool(lines), f"no line with {words!r}: {daemon.log()[-300:]}")
    return f"{len(lines)} lines like: {lines[0]}"


def beside(lab: Lab, daemon: Daemon, kernel: Guest, hostile: Guest, how: str) -> list[str]:
    """The honest guest plays on while the other one does it, and loses nothing."""
    forget(kernel)
    act = hostile.console.start(f"rm -f /tmp/go; {HOSTILE} {how} 2> /tmp/hostile.log")
    wait_until(lambda: "ready" in hostile.run("cat /tmp/hostile.log").output, "hostile.py")
    player, told = sounding(kernel, raw(LONG_BUFFER), lambda: sounds(kernel), daemon.log)
    started = time.monotonic()
    hostile.console.start("touch /tmp/go")
    if how == "power":
        wait_until(lambda: ended(hostile), "the hostile guest's end")
        said = "domain down"
    else:
        done = hostile.console.result(act, 300)
        said = hostile.run("tail -3 /tmp/hostile.log").output
        expect(done.status == 0, f"hostile.py: {done.output[-300:]} {said[-300:]}")
        said = done.output.strip()
    took = time.monotonic() - started
    try:
        wait_growing([kernel])
    finally:  # it says better why nothing more is heard
        rounds, underruns = player.stop()
    figure = heard(lab, kernel, PART, rounds=rounds, underruns=underruns)
    return [f"{said} in {took:.1f} s", f"the other: {figure} in {rounds} rounds", *told]


def mistakes(lab: Lab, daemon: Daemon, guest: Guest) -> None:
    device = f"/local/domain/{guest.domid}/device/vsnd/1"
    stream = ("PCM, name=Odd", "STREAM, unique-id=odd, type=p")

    def line(words: str) -> str:
        def found() -> list[str]:
            mark = f"domain {guest.domid} ({guest.name}) vsnd/1: {device}"
            return [text for text in daemon.log().splitlines() if mark in text and words in text]

        wait_until(lambda: bool(found()), f"a line with {words!r}")
        time.sleep(2)  # long enough for a repetition
        expect(len(found()) == 1, f"{len(found())} lines with {words!r}")
        return found()[0]

    with lab.scenario("bad.channels_min_over_channels_max_is_one_line") as figures:
        command("xl", "vsnd-attach", guest.name, "CARD, channels-min=4, channels-max=2", *stream)
        figures.append(line('channels-min = "4"'))
        command("xl", "vsnd-detach", guest.name, "1")
    with lab.scenario("bad.unknown_format_is_one_line") as figures:
        card = "CARD, sample-formats=s16_le;s17_le"
        refused = command("xl", "vsnd-attach", guest.name, card, *stream, check=False)
        expect(refused.status != 0, "xl took a format that is none")
        figures.append(f"xl: {refused.output.strip()}")
        # What xl refuses, another toolstack may write.
        command("xl", "vsnd-attach", guest.name, "CARD, sample-formats=s16_le", *stream)
        command("xenstore-write", f"{device}/sample-formats", "s16_le,s17_le")
        for key in ("ring-ref", "event-channel", "evt-ring-ref", "evt-event-channel"):
            command("xenstore-write", f"{device}/0/0/{key}", "9")
        command("xenstore-write", f"{device}/state", "3")
        figures.append(line('sample-formats = "s16_le,s17_le": unknown sample format "s17_le"'))
        # libxl itself does not find a device that it cannot read.
        command("xenstore-write", f"{device}/sample-formats", "s16_le")
        command("xl", "vsnd-detach", guest.name, "1")
