"""The kernel's frontend while backends, devices and guests come and go."""

from __future__ import annotations

import time
from pathlib import Path

from cards import wait_card
from dom0 import Daemon, Lab, expect, store_read, wait_until
from guest import Guest, command
from kernel_front import (
    CARD,
    FRAMES,
    LONG,
    RAW,
    RECORD,
    STREAMS,
    VSND,
    play_all,
)
from players import Endless


def run(lab: Lab) -> None:
    RECORD.unlink(missing_ok=True)
    arguments = ("--output", "null", "--record", str(RECORD))
    daemon = Daemon("backend-life", *arguments)
    guest = Guest(vsnd=VSND)
    lab.explain_with(guest)
    start(guest)
    with lab.scenario("kernel.backend_killed_and_restarted") as figures:
        player = Endless(guest, f"{RAW} {LONG}", FRAMES)
        player.until(sounds, "sound")
        daemon.kill()
        # Not before aplay has given up (its requests time out after 3 s): Linux 6.1's driver, told
        # to start again while a stream is open, frees what the stream's close then uses (an oops
        # in xen_snd_front_stream_close).
        figures.append(f"aplay ended with {guest.console.result(player.ident, 90).status}")
        daemon = Daemon("backend-life", *arguments)
        figures.append(f"Connected after {wait_card(guest, daemon.log):.1f} s")
        figures.append(play_all(lab, guest, LONG))
    with lab.scenario("kernel.vsnd_detach_and_attach") as figures:
        started = time.monotonic()
        command("xl", "vsnd-detach", guest.name, "0")
        figures.append(f"detach {time.monotonic() - started:.1f} s")
        # Not sooner: the driver's remove() waits a second for InitWait, and whatever is attached
        # meanwhile gets its last word, Closed, and no driver.
        device = "test ! -e /sys/devices/vsnd-0"
        listed = wait_until(lambda: guest.run(device).status == 0, "the device is gone")
        figures.append(f"device gone {listed:.1f} s later")
        started = time.monotonic()
        command("xl", "vsnd-attach", guest.name, CARD, *STREAMS)
        figures.append(f"attach {time.monotonic() - started:.1f} s")
        wait_card(guest)
        figures.append(play_all(lab, guest, LONG))
    with lab.scenario("kernel.guest_halts") as figures:
        figures.append(f"{guest.halt():.1f} s")
    with lab.scenario("kernel.guest_destroyed_while_it_plays") as figures:
        start(guest)
        RECORD.unlink(missing_ok=True)
        Endless(guest, f"{RAW} {LONG}", FRAMES).until(sounds, "sound")
        figures.append(f"xl destroy {guest.destroy():.1f} s")
        took = wait_until(lambda: ": gone" in last_device(daemon), "the backend forgets it")
        figures.append(f"forgotten after {took:.1f} s")
        left = store_read("/local/domain/0/backend/vsnd")
        figures.append(f"backend/vsnd left: {left!r}")
    with lab.scenario("backend.keeps_no_descriptors") as figures:
        links = [str(path.readlink()) for path in open_files(daemon)]
        events = sum(name == "/dev/xen/evtchn" for name in links)
        expect(events == 0, f"{events} event channels are still open")
        figures.append(f"{len(links)} open files")
    with lab.scenario("backend.ends_after_all") as figures:
        figures.append(f"{daemon.stop():.1f} s")
        expect("Traceback" not in daemon.log(), "a traceback in the backend's log")


def start(guest: Guest) -> None:
    guest.start()
    guest.must("modprobe snd_xen_front")
    wait_card(guest)


def sounds() -> bool:
    """Whether half a second has been heard."""
    return RECORD.exists() and RECORD.stat().st_size > 96000


def open_files(daemon: Daemon) -> list[Path]:
    return list(Path(f"/proc/{daemon.process.pid}/fd").iterdir())


def last_device(daemon: Daemon) -> str:
    """The log since the newest device was found."""
    return daemon.log().rpartition(": found")[2]
