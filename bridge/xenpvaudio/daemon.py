"""The long-running programs: `frontend` and `backend` as processes of one domain.

The only place that chooses between real and simulated Xen. What it does not need of its user's
rights it gives up first, before there is a second thread and anything of a peer's is read. Ends on
SIGTERM and SIGINT with every device closed; errors that a user can mend are one line and an exit
status (errors.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from xenpvaudio_native.privilege import drop_privileges

from .aec.canceller import Canceller
from .aec.place import ends_of
from .backend.backend import Backend
from .backend.host_user.answers import BackendAnswers
from .backend.host_user.orders import Orders
from .backend.host_user.policy_watch import PolicyWatch
from .config import FrontendSettings, Policy
from .control.place import alsa_socket_path, runtime_directory, socket_path, state_file
from .control.server import Answer, ControlServer
from .engine.engine import Engine
from .errors import UnavailableError
from .frontend.alsa.server import PcmServer
from .frontend.answers import FrontendAnswers
from .frontend.device import Frontend, require_devices
from .instance_lock import DomainLock, InstanceLock
from .service.notify import Notifier, watchdog_sec
from .service.reporter import Reporter
from .service.summary import summary
from .xen.api import Domain, XenStoreError
from .xen.connect import SIM_VARIABLE, device_of, domain_from_env

log = logging.getLogger(__name__)

OTHERS_LOOK_SEC = 1.0
"""How often a half that waits looks whether the domain's other one has ended."""
BACKEND_TICK_SEC = 3.0
"""Only to see that it stood still, and for the status line."""


@dataclass(frozen=True, slots=True)
class Running:
    """A half at work. `answers`: its control socket's."""

    engine: Engine
    stop: Callable[[], Awaitable[None]]
    answers: Mapping[str, Answer]


Body = Callable[[Domain], Awaitable[Running]]


async def _free(lock: DomainLock, ended: asyncio.Event) -> bool:
    """Waits until the lock is ours; False if a signal came first."""
    while not lock.take():
        try:
            await asyncio.wait_for(ended.wait(), OTHERS_LOOK_SEC)
        except TimeoutError:
            continue
        return False
    return True


async def _serve(role: str, body: Body, *, wait: bool) -> None:
    """Runs `body` until a signal ends it. `wait`: for the end of another user's half, too, which
    serves this domain already; without it UnavailableError."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    domain = domain_from_env(loop.call_soon_threadsafe)
    lock = InstanceLock(role, domain.domid)
    simulated = bool(os.environ.get(SIM_VARIABLE))
    of_all = DomainLock(device_of(role, domain.domid), make=simulated)
    running: Running | None = None
    there = ""

    def line() -> str:
        if running is None:
            return f"waits: {there}"
        return summary(running.answers["status"]({}, os.geteuid()))

    reporter = Reporter(Notifier(), line, watchdog_sec())
    if not of_all.take():
        there = f"a {role} is running already for this domain (process {of_all.holder()})"
        if not wait:
            raise UnavailableError(there, hint="stop that one first")
        log.warning("%s: waiting for its end", there)
        reporter.start()
        if not await _free(of_all, ended):
            reporter.close()
            domain.close()
            return
    # It reconnects by itself, and every watch then fires anew.
    domain.store.on_lost = lambda error: log.error("%s: waiting for it to come back", error)
    domain.store.on_slow = lambda answers, seconds: log.warning(
        "XenStore is slow: it took %.1f s for %d answers, and cards connect so much later",
        seconds,
        answers,
    )
    running = await body(domain)
    control = ControlServer(socket_path(role, domain.domid), running.answers)
    await control.start()
    running.engine.watch_changes(reporter.renew)
    reporter.start()
    log.info("%s of domain %d is ready", role, domain.domid)
    try:
        await ended.wait()
    finally:
        reporter.close()
        control.close()
        try:
            await asyncio.wait_for(running.stop(), 5.0)
        except (TimeoutError, XenStoreError) as error:
            log.warning("not everything could be closed: %s", error or "time is up")
        running.engine.close()
        domain.close()
        of_all.release()
        lock.release()


def _no_canceller(_question: Mapping[str, Any], _user: int) -> dict[str, Any]:
    raise UnavailableError(
        "this frontend serves ALSA programs, and the echo canceller is PipeWire's",
        hint='it needs serve = "pipewire", and a guest with PipeWire',
    )


async def _serve_programs(domain: Domain, settings: FrontendSettings) -> Running:
    """The guest's half without PipeWire."""
    engine = Engine(None)
    frontend = Frontend(engine, domain, settings)
    server = PcmServer(alsa_socket_path(domain.domid), lambda: frontend.devices)
    server.start()
    engine.watch_changes(server.look)
    frontend.run()

    async def stop() -> None:
        await server.stop()
        await frontend.stop()

    answers = FrontendAnswers(frontend, domid=domain.domid, pipewire=False)
    return Running(engine, stop, answers.table() | {"aec": _no_canceller})


def run_frontend(settings: FrontendSettings, *, wait: bool) -> None:
    """The guest's half. `wait`: for a PipeWire daemon or a card that is not there yet; without it
    UnavailableError or PeerGoneError."""

    async def body(domain: Domain) -> Running:
        if not wait:
            require_devices(domain)
        if settings.serve != "pipewire":
            return await _serve_programs(domain, settings)
        engine = Engine("Xen PV Audio")
        frontend = Frontend(engine, domain, settings)
        if wait:
            engine.keep_pipewire()
        else:
            engine.connect_pipewire()
        frontend.run()
        text = runtime_directory() / f"xen-pv-audio-aec-{domain.domid}.conf"
        canceller = Canceller(partial(ends_of, frontend), state_file("aec.json"), text)
        engine.watch_changes(canceller.stir)
        canceller.run()
        engine.watch_session_manager(lambda _event: canceller.renew())

        async def stop() -> None:
            await canceller.stop()
            await frontend.stop()

        answers = FrontendAnswers(frontend, domid=domain.domid).table()
        return Running(engine, stop, answers | {"aec": canceller.answer})

    drop_privileges()
    asyncio.run(_serve("frontend", body, wait=wait))


def run_backend(
    load: Callable[[], Policy],
    policy_path: Path,
    *,
    wait: bool,
    record: Path | None = None,
    position_ext: bool = True,
) -> None:
    """The host's half. `load`: what holds now, by the file at `policy_path` and the command line;
    read again when the file changes."""
    policy = load()
    kinds = {table.output.kind for table in policy.tables}
    pipewire = "pipewire" in kinds
    orders = Orders(state_file("orders.json"))

    async def body(domain: Domain) -> Running:
        engine = Engine("Xen PV Audio" if pipewire else None, tick_sec=BACKEND_TICK_SEC)
        backend = Backend(
            engine, domain, policy, orders=orders, record=record, position_ext=position_ext
        )
        if pipewire and wait:
            engine.keep_pipewire()
        elif pipewire:
            engine.connect_pipewire()
        await backend.outputs.prepare(kinds, wait=wait)
        backend.run()
        watch = PolicyWatch(policy_path, load, backend.hold_to)
        watch.start()

        async def stop() -> None:
            watch.stop()
            await backend.stop()

        answers = BackendAnswers(backend, orders, domid=domain.domid, pipewire=pipewire)
        return Running(engine, stop, answers.table())

    drop_privileges()
    asyncio.run(_serve("backend", body, wait=wait))
