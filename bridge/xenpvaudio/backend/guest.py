"""What all cards and streams of one guest share: everything that is counted against it.

It lives as long as the toolstack keeps a card of the guest here, whatever the guest does to them:
who closes and opens again has spent what it has spent. The event loop's thread.
"""

from __future__ import annotations

from xenpvaudio.config import DomainPolicy
from xenpvaudio.engine.engine import Engine
from xenpvaudio.logs.peer_log import PeerLines
from xenpvaudio.xen.api import XenStore, XenStoreError
from xenpvaudio.xenbus.pace import Pace

from .host_user.orders import Orders
from .mixing import VolumePace
from .open_pace import OpenPace
from .policy import Usage


class Guest:
    def __init__(self, domid: int, engine: Engine) -> None:
        self.lines = PeerLines(f"domain {domid}")
        self.usage = Usage()
        self.pace = Pace()
        self.opens = OpenPace()
        self.volumes = VolumePace()
        self.budget = engine.budget(domid)

    @property
    def budgets_met(self) -> dict[str, int]:
        """How often it wanted more than the policy lets it have, by the policy's keys."""
        paces = {
            "max-opens-per-sec": self.opens.waits,
            "max-xenstore-per-sec": self.pace.holds,
        }
        return {key: count for key, count in (self.usage.met | paces).items() if count}

    def hold_to(self, policy: DomainPolicy) -> None:
        """From now on that is what holds for it."""
        self.pace.limit(policy.max_xenstore_burst, policy.max_xenstore_per_sec)
        self.opens.limit(policy.max_opens_burst, policy.max_opens_per_sec)


class Guests:
    """Of all domains that have a card here. `directory`: ours, one below it for each guest."""

    def __init__(self, engine: Engine, store: XenStore, directory: str, orders: Orders) -> None:
        self._engine = engine
        self._store = store
        self._directory = directory
        self._orders = orders
        self._guests: dict[int, Guest] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def of(self, domid: int) -> Guest:
        self.forget_gone()
        if domid not in self._guests:
            self._guests[domid] = Guest(domid, self._engine)
        return self._guests[domid]

    def forget_gone(self) -> None:
        """Those whose cards the toolstack has taken away; a guest has no hand in that directory."""
        for domid in tuple(self._guests):
            if not self._has_cards(domid):
                del self._guests[domid]
                self._orders.forget_number(domid)

    def _has_cards(self, domid: int) -> bool:
        path = f"{self._directory}/{domid}"
        try:
            return self._store.exists(path) and bool(self._store.list(path))
        except XenStoreError:
            return True  # it is looked at again with the next guest
