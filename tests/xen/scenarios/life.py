"""One guest's life: what it lacks, pause, save and restore, and all ends while it plays."""

from __future__ import annotations

import time

from cards import frontend_state
from dom0 import Daemon, Lab, compare_frames, expect, finished, store_read, wait_until
from guest import Guest, Result, command
from parts import (
    FRAME_BYTES,
    LONG_BUFFER,
    RAW,
    Part,
    backend,
    forget,
    heard,
    heard_so_far,
    kernel_card,
    played,
    raw,
    recording,
    sounds,
    vsnd,
)
from players import times_given_up

PART = Part(0, 6)
APLAY = f"timeout 110 aplay {RAW} /tmp/part.raw"
# Since 6.6 Linux ends a write that waited for 1.1 buffers, and the emulator's xl takes a second or
# two to pause and unpause.
LONG_APLAY = f"timeout 110 aplay {raw(LONG_BUFFER)} /tmp/part.raw"


def run(lab: Lab) -> None:
    guest = Guest("life", vsnd=vsnd(LONG_BUFFER * FRAME_BYTES))
    lab.explain_with(guest)
    with backend("backend-life") as daemon:
        guest.start(memory_mb=256)  # what is saved must fit dom0's memory
        lacks(lab, guest)
        with lab.scenario("life.kernel_driver_after_our_frontend") as figures:
            kernel_card(guest)
            PART.make(guest)
            figures.append(played(lab, guest, PART))
        pauses(lab, guest)
        saved_and_restored(lab, guest)
        ends(lab, guest, daemon)


# -- what a guest may lack


def lacks(lab: Lab, guest: Guest) -> None:
    """Our frontend, started where something is missing, says it once and goes on when it comes."""
    with lab.scenario("ours.without_gntalloc_says_so_once") as figures:
        figures += lacking(guest, "rmmod xen_gntalloc", "modprobe xen-gntalloc", "gntalloc")
    with lab.scenario("ours.without_evtchn_says_so_once") as figures:
        figures += lacking(guest, "rmmod xen_evtchn", "modprobe xen-evtchn", "evtchn")
    limit = "> /sys/module/xen_gntalloc/parameters/limit"
    with lab.scenario("ours.at_the_grant_limit_says_so_once") as figures:
        figures += lacking(guest, f"echo 1 {limit}", f"echo 1024 {limit}", "limit (1) is reached")


def lacking(guest: Guest, take: str, give: str, words: str) -> list[str]:
    guest.must(
        f"{take}; setsid xen-pv-audio frontend --wait > /tmp/lack.log 2>&1 < /dev/null &"
        " echo $! > /tmp/lack.pid"
    )

    def lines() -> list[str]:
        return [line for line in guest.must("cat /tmp/lack.log").splitlines() if words in line]

    try:
        wait_until(lambda: bool(lines()), f"a line with {words!r}")
        time.sleep(4)  # it tries again every second
        said = lines()
        expect(len(said) == 1, f"{len(said)} lines: {said}")
        expect(frontend_state(guest) != "4", "it is connected all the same")
        guest.must(give)
        took = wait_until(lambda: frontend_state(guest) == "4", "Connected")
    finally:
        guest.must(
            f"{give}; kill $(cat /tmp/lack.pid); while kill -0 $(cat /tmp/lack.pid) 2>/dev/null;"
            " do sleep 0.1; done"
        )
    log = guest.must("cat /tmp/lack.log")
    expect("Traceback" not in log, log[-400:])
    return [*said, f"Connected {took:.1f} s after it was mended"]


# -- pause, save, restore


def pauses(lab: Lab, guest: Guest) -> None:
    with lab.scenario("life.short_pause_loses_nothing") as figures:
        done = paused(guest, 0.3, LONG_APLAY)
        expect(done.status == 0, f"aplay: {done.output[-300:]}")
        figures.append(f"{done.output.count('underrun')} underruns")
        figures.append(heard(lab, guest, PART))
    with lab.scenario("life.long_pause_loses_nothing") as figures:
        given_up = times_given_up(guest)
        done = paused(guest, 3, APLAY)
        if times_given_up(guest) > given_up:  # longer than it waits: no loss of ours
            finished(recording(guest))
            figures.append(f"Linux gave up after {heard_so_far(lab, guest, PART)} frames in order")
            figures.append(f"then {played(lab, guest, PART)}")
            return
        expect(done.status == 0, f"aplay: {done.output[-300:]}")
        recorded = finished(recording(guest))
        figures.append(compare_frames(recorded, PART.of(lab), silence_between=True))


def paused(guest: Guest, seconds: float, player: str) -> Result:
    forget(guest)
    ident = guest.console.start(player)
    wait_until(lambda: sounds(guest), "sound")
    command("xl", "pause", guest.name)
    time.sleep(seconds)
    command("xl", "unpause", guest.name)
    return guest.console.result(ident, 110)


def saved_and_restored(lab: Lab, guest: Guest) -> None:
    with lab.scenario("life.saved_and_restored_guest_plays_again") as figures:
        before, saved = guest.domid, "/tmp/guest.saved"
        started = time.monotonic()
        command("xl", "save", guest.name, saved, timeout_sec=120)
        figures.append(f"save {time.monotonic() - started:.1f} s")
        started = time.monotonic()
        command("xl", "restore", saved, timeout_sec=120)
        command("rm", saved)
        guest.find_console()
        figures.append(f"restore {time.monotonic() - started:.1f} s")
        figures.append(f"domain {before} is now {guest.domid}")
        path = f"/local/domain/0/backend/vsnd/{guest.domid}/0/state"
        took = wait_until(lambda: store_read(path) == "4", "Connected")
        figures.append(f"Connected {took:.1f} s later")
        kernel_card(guest)
        figures.append(played(lab, guest, PART))


# -- ends while it plays


def ends(lab: Lab, guest: Guest, daemon: Daemon) -> None:
    with lab.scenario("life.guest_halts_while_it_plays") as figures:
        start(guest)
        figures.append(f"{guest.halt():.1f} s")
        took = wait_until(lambda: gone(daemon), "the backend forgets it")
        figures.append(f"forgotten {took:.1f} s later")
        figures.append(f"{heard_so_far(lab, guest, PART)} frames in order")
    # What the guest's kernel does with a card that goes while a stream is open is its own affair:
    # Linux 6.1 corrupts its memory (seen as an oops at the next attach). So this is its last.
    with lab.scenario("life.detached_while_it_plays") as figures:
        guest.start(memory_mb=256)
        kernel_card(guest)
        PART.make(guest)
        start(guest)
        started = time.monotonic()
        command("xl", "vsnd-detach", guest.name, "0")
        figures.append(f"detach {time.monotonic() - started:.1f} s")
        wait_until(lambda: gone(daemon), "the backend forgets it")
        left = command("xl", "vsnd-list", guest.name).output.splitlines()[1:]
        expect(not left, f"xl vsnd-list: {left}")
        figures.append(f"{heard_so_far(lab, guest, PART)} frames in order")
        figures.append(f"xl destroy {guest.destroy():.1f} s")
    expect("Traceback" not in daemon.log(), "a traceback in the backend's log")


def gone(daemon: Daemon) -> bool:
    """Whether the newest device is forgotten."""
    return ": gone" in daemon.log().rpartition(": found")[2]


def start(guest: Guest) -> str:
    forget(guest)
    ident = guest.console.start(APLAY)
    wait_until(lambda: sounds(guest), "sound")
    return ident
