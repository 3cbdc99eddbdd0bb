"""How the kernel's frontend and libxl behave where nobody wrote it down; our backend relies on it.

What is known by a model in the unit tests as well (events, positions, states) is not here.
"""

from __future__ import annotations

import signal
import time

from cards import wait_card
from dom0 import Daemon, Lab, expect, store_read, wait_until
from guest import Guest, command
from kernel_front import CARD, FRAMES, LONG, RAW, RECORD, STREAMS, VSND, play_all

DRIVER = "/sys/bus/xen/drivers/vsnd"


def run(lab: Lab) -> None:
    guest = Guest(vsnd=VSND)
    lab.explain_with(guest)
    with Daemon("backend-quirks", "--output", "null", "--record", str(RECORD)) as backend, guest:
        guest.must("modprobe snd_xen_front")
        wait_card(guest)
        frozen(lab, guest, backend)
        unbound(lab, guest)
    no_backend(lab)


def frozen(lab: Lab, guest: Guest, backend: Daemon) -> None:
    with lab.scenario("kernel.request_times_out_after_3_s") as figures:
        backend.process.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            told = guest.run(f"timeout 110 aplay {RAW} {LONG} {FRAMES} 2>&1")
            took = time.monotonic() - started
        finally:
            backend.process.send_signal(signal.SIGCONT)
        expect(told.status != 0, "aplay played without a backend")
        expect(took > 2.9, f"aplay gave up after {took:.1f} s: {told.output[-200:]}")
        figures.append(f"aplay gave up after {took:.1f} s")
    with lab.scenario("backend.late_answers_do_not_leave_the_guest_deaf") as figures:
        # They come while the stream is closed: the driver does not look, and asks for no event.
        guest.must("sleep 1")
        figures.append(play_all(lab, guest, LONG))


def unbound(lab: Lab, guest: Guest) -> None:
    with lab.scenario("kernel.unbind_is_let_go_within_its_second") as figures:
        started = time.monotonic()
        guest.must(f"ls {DRIVER}; dmesg -C; echo vsnd-0 > {DRIVER}/unbind")
        took = time.monotonic() - started
        # remove() writes Closing and looks a hundred times for InitWait, else it complains.
        said = guest.must("dmesg")
        expect("while removing driver" not in said, f"unbind took {took:.1f} s: {said[-300:]}")
        state = f"/local/domain/0/backend/vsnd/{guest.domid}/0/state"
        wait_until(lambda: store_read(state) == "2", "InitWait after the unbind")
        guest.must("rmmod snd_xen_front && modprobe snd_xen_front")
        wait_card(guest)
        figures.append(f"unbind {took:.1f} s")
        figures.append(play_all(lab, guest, LONG))


def no_backend(lab: Lab) -> None:
    """Without a card first: `xl create` of a guest with one would wait and fail in the same way."""
    with lab.scenario("xl.gives_a_card_up_without_a_backend") as figures, Guest() as guest:
        started = time.monotonic()
        told = command("xl", "vsnd-attach", guest.name, CARD, *STREAMS, check=False)
        took = time.monotonic() - started
        expect(told.status != 0, "xl vsnd-attach succeeded without a backend")
        expect(took > 5, f"xl gave up after {took:.1f} s")
        figures.append(f"after {took:.0f} s")
        left = store_read(f"/local/domain/0/backend/vsnd/{guest.domid}/0/state")
        figures.append(f"the backend's state node then: {left}")
        guest.must("true")
