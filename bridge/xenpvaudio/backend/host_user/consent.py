"""Asks the host's user whether a guest may record, where the policy says microphone = "ask".

Until there is an answer the guest records silence. A guest that starts and stops recording cannot
make itself a nuisance: one question a guest, a few at a time, and who was not answered three times
is not asked for again before the guest is restarted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from xenpvaudio.errors import ConfigError, XenPvAudioError

from .notification import ask_desktop
from .orders import Order, Orders

log = logging.getLogger(__name__)

MOST_QUESTIONS = 4
MOST_UNANSWERED = 3

ONCE, ALWAYS, DENY = "once", "always", "deny"
Ask = Callable[[str, str, Mapping[str, str]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Asker:
    """A guest that wants to record. `key`: what orders know it by; `lasting`: whether an order can
    last for it."""

    key: str
    domid: int
    name: str
    lasting: bool


class Consent:
    """`hold_to`: makes what is ordered for that key hold now."""

    def __init__(
        self, orders: Orders, hold_to: Callable[[str], None], ask: Ask = ask_desktop
    ) -> None:
        self._orders = orders
        self._hold_to = hold_to
        self._ask = ask
        self._open: dict[str, asyncio.Task[None]] = {}
        self._unanswered: dict[str, int] = {}
        self._told: set[str] = set()
        """Who cannot be asked for now: the log has it."""

    def wanted(self, guest: Asker) -> None:
        """It began to record, and the policy says to ask."""
        if guest.key in self._open or self._unanswered.get(guest.key, 0) >= MOST_UNANSWERED:
            return
        if len(self._open) >= MOST_QUESTIONS:
            if guest.key in self._told:
                return
            self._told.add(guest.key)
            log.warning(
                "%s wants the microphone, and so do %d others: denied for now; `xen-pv-audio mic "
                "allow %d` allows it",
                *(guest.name, len(self._open), guest.domid),
            )
            return
        self._told.discard(guest.key)
        self._open[guest.key] = asyncio.get_running_loop().create_task(self._question(guest))

    def withdraw(self, key: str) -> None:
        """There is nothing to ask any more: it was ordered otherwise."""
        if (task := self._open.pop(key, None)) is not None:
            task.cancel()

    def forget(self, key: str) -> None:
        """The guest has gone."""
        self.withdraw(key)
        self._unanswered.pop(key, None)
        self._told.discard(key)

    async def stop(self) -> None:
        tasks = [*self._open.values()]
        for key in tuple(self._open):
            self.withdraw(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _question(self, guest: Asker) -> None:
        buttons = {ONCE: "Allow once", ALWAYS: "Always allow", DENY: "Deny"}
        if not guest.lasting:
            del buttons[ALWAYS]
        log.info("%s wants the microphone: the host's user is asked", guest.name)
        try:
            said = await self._ask(
                f"Microphone for {guest.name}?",
                f"{guest.name} (domain {guest.domid}) wants to record what the microphone hears.",
                buttons,
            )
        except XenPvAudioError as error:
            log.warning(
                "%s wants the microphone and nobody can be asked (%s): denied; `xen-pv-audio mic "
                "allow %d` allows it",
                *(guest.name, error, guest.domid),
            )
            said = ""
        self._open.pop(guest.key, None)
        if said:
            self._decided(guest, allowed=said != DENY, always=said == ALWAYS)
        else:
            self._unanswered[guest.key] = self._unanswered.get(guest.key, 0) + 1

    def _decided(self, guest: Asker, *, allowed: bool, always: bool) -> None:
        order = Order(microphone=allowed)
        try:
            self._orders.give(guest.key, order, always=always)
        except ConfigError as error:
            log.error("%s: %s", guest.name, error)
            always = False
        if not always:
            self._orders.give_until_gone(guest.key, order, guest.domid)
        words = "allowed" if allowed else "denied"
        lasting = "from now on" if always else "until the guest ends"
        log.info("%s: microphone %s %s, by the notification's answer", guest.name, words, lasting)
        self._hold_to(guest.key)
