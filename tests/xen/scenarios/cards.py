"""When a guest's card can be used. Nobody assumes how soon: the emulator may have other work."""

from __future__ import annotations

import time
from collections.abc import Callable

from dom0 import store_read, wait_until
from guest import Guest

# Of a card's devices, Linux makes this one last (sound/core/device.c).
LAST_DEVICE = "/dev/snd/controlC0"


def frontend_state(guest: Guest) -> str | None:
    return store_read(f"/local/domain/{guest.domid}/device/vsnd/0/state")


def backend_state(guest: Guest) -> str | None:
    directory = store_read(f"/local/domain/{guest.domid}/device/vsnd/0/backend")
    return store_read(f"{directory}/state") if directory else None


def wait_connected(guest: Guest, log: Callable[[], str] | None = None) -> float:
    """Until both ends of a guest's first card are Connected; seconds. `log`: of a backend that was
    just started, when its dead predecessor's state may still stand in XenStore."""
    mark = f"domain {guest.domid} ("

    def connected() -> bool:
        if log is not None and not any(
            mark in line and "-> CONNECTED" in line for line in log().splitlines()
        ):
            return False
        return backend_state(guest) == frontend_state(guest) == "4"

    return wait_until(connected, "Connected")


def wait_card(guest: Guest, log: Callable[[], str] | None = None) -> float:
    """The same, and until Linux's frontend has its devices."""
    started = time.monotonic()
    wait_connected(guest, log)
    guest.must(f"until [ -e {LAST_DEVICE} ]; do sleep 0.1; done")
    return time.monotonic() - started
