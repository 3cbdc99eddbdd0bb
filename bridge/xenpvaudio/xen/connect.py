"""Which Xen: the real one, or the simulated one that XEN_PV_AUDIO_SIM=DIR:DOMID names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from xenpvaudio.errors import ConfigError

from .api import Domain
from .real.evtchn import XenEventChannels
from .real.gnttab import XenGrantTable
from .real.xenstore import CallSoon, open_store

SIM_VARIABLE = "XEN_PV_AUDIO_SIM"
DEVICES = Path("/dev/xen")
# Without which a half can do nothing: it shares its own memory, or maps that of others.
DEVICE_OF = {"frontend": "gntalloc", "backend": "gntdev"}


def real_domain(call_soon: CallSoon | None = None) -> Domain:
    """This machine's domain; UnavailableError where there is no XenStore. The grant and event
    channel devices are opened when they are first used, with errors of their own."""
    store = open_store(call_soon)
    return Domain(store.domid, store, XenGrantTable(), XenEventChannels())


def domain_from_env(
    call_soon: CallSoon | None = None, environ: Mapping[str, str] = os.environ
) -> Domain:
    """The domain this process is in. ConfigError if XEN_PV_AUDIO_SIM is not DIR:DOMID,
    UnavailableError if there is no Xen, or no simulation in DIR."""
    where = environ.get(SIM_VARIABLE)
    if not where:
        return real_domain(call_soon)
    directory, colon, domid = where.rpartition(":")
    if not (directory and colon and domid.isascii() and domid.isdigit()):
        raise ConfigError(
            f"{SIM_VARIABLE}={where} is not DIR:DOMID", hint=f"like {SIM_VARIABLE}=/tmp/sim:1"
        )
    from .sim.domain import connect

    return connect(directory, int(domid), call_soon)


def device_of(half: str, domid: int, environ: Mapping[str, str] = os.environ) -> Path:
    """The Xen device of this domain that a half works with; a simulation has a file in its place,
    which nobody makes but who locks it."""
    directory = environ.get(SIM_VARIABLE, "").rpartition(":")[0]
    return (
        Path(directory) / f"dom{domid}.{DEVICE_OF[half]}"
        if directory
        else DEVICES / DEVICE_OF[half]
    )
