"""The host half: serves every guest's vsnd devices through host outputs. Finds them under its own
`backend/vsnd` by a XenStore watch."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from xenpvaudio.config import Policy
from xenpvaudio.engine.engine import Engine
from xenpvaudio.errors import XenPvAudioError
from xenpvaudio.xen.api import Domain, XenStoreError
from xenpvaudio.xenbus import states
from xenpvaudio.xenbus.discovery import Discovery
from xenpvaudio.xenbus.nodes import parse_domid

from .device import DEVICES, BackendDevice
from .guest import Guests
from .host_audio.output_maker import OutputMaker
from .host_user.consent import Consent
from .host_user.orders import Orders

log = logging.getLogger(__name__)


class Backend:
    """All vsnd devices that this domain serves. `record`: a WAV file of each playback stream, the
    last one that opened wins, or a directory with a file for each; `position_ext`: offer the
    position extension."""

    def __init__(
        self,
        engine: Engine,
        domain: Domain,
        policy: Policy,
        *,
        orders: Orders | None = None,
        record: Path | None = None,
        position_ext: bool = True,
    ) -> None:
        self._engine = engine
        self._domain = domain
        self._policy = policy
        self._orders = orders or Orders()
        self._record = record
        self._position_ext = position_ext
        self.devices: dict[tuple[int, str], BackendDevice] = {}
        self._consent = Consent(self._orders, self._hold_guest_to)
        self.outputs = OutputMaker(engine)
        self._guests = Guests(engine, domain.store, DEVICES, self._orders)
        self._discovery = Discovery(domain.store, DEVICES, 2, self._consider)

    def run(self) -> None:
        self._discovery.run()

    def hold_to(self, policy: Policy) -> None:
        """The policy file has changed."""
        self._policy = policy
        for device in self.devices.values():
            try:
                device.hold_to(policy)
            except XenPvAudioError as error:
                device.log.error("%s: %s", device.where, error)

    def _hold_guest_to(self, key: str) -> None:
        for device in self.devices.values():
            if device.key == key:
                device.hold_to()

    @property
    def pipewire_up(self) -> bool:
        return self._engine.pipewire_up

    def _wanted(self, directory: str) -> bool:
        """Not while it is written, nor when it is closed and about to be removed."""
        store = self._domain.store
        return store.exists(f"{directory}/{states.FRONTEND_PATH}") and not states.is_offline(
            store.get(f"{directory}/{states.ONLINE}")
        )

    def _consider(self, found: tuple[str, ...]) -> bool:
        domid, devid = found
        key = (parse_domid(domid, DEVICES), devid)
        if not self._wanted(f"{DEVICES}/{domid}/{devid}"):
            return False
        device = BackendDevice(
            self._engine,
            self._domain,
            key[0],
            devid,
            self._policy,
            self._orders,
            self._guests.of(key[0]),
            self._consent,
            self.outputs,
            record=self._record,
            position_ext=self._position_ext,
        )
        self.devices[key] = device
        device.log.info("%s: found", device.where)
        device.run()
        self._engine.changed()
        asyncio.get_running_loop().create_task(self._forget(found, device))
        return True

    async def _forget(self, found: tuple[str, ...], device: BackendDevice) -> None:
        await device.finished.wait()
        device.log.info("%s: gone", device.where)
        key = (int(found[0]), found[1])
        if self.devices.get(key) is device:
            del self.devices[key]
        if self._domain.domid != 0:
            self._clear(device.directory)
        try:
            there = self._wanted(device.directory)
        except XenStoreError:
            there = True  # it is looked at again, a little later
        if not any(other.key == device.key for other in self.devices.values()):
            self._consent.forget(device.key)
        self._guests.forget_gone()
        self._engine.changed()
        self._discovery.ended(found, there=there)

    def _clear(self, directory: str) -> None:
        """Outside of dom0 it is the backend's to remove the directory of a device that is to go:
        libxl waits 10 s for that (libxl_device.c, device_hotplug)."""
        store = self._domain.store
        try:
            if states.is_offline(store.get(f"{directory}/{states.ONLINE}")):
                store.remove(directory)
        except XenStoreError as error:
            log.warning("%s: %s", directory, error)

    async def stop(self) -> None:
        self._discovery.stop()
        await self._consent.stop()
        await asyncio.gather(*(device.stop() for device in tuple(self.devices.values())))
        self.outputs.close()
