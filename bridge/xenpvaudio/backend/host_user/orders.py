"""What the host's user orders while guests run, over what the policy file says: the microphone
given or taken, a guest silenced.

An order holds for the guest that xl calls by that UUID, also after the guest has been restarted;
until this process ends, or for ever, which a file remembers. Where no UUID can be read, the
domain's number stands for it, and such an order does not outlive this process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from xenpvaudio.config import DomainPolicy
from xenpvaudio.errors import ConfigError

_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """None: as the policy says."""

    microphone: bool | None = None
    muted: bool | None = None

    def over(self, other: Order) -> Order:
        """What is left of both when this one is the newer."""
        return Order(
            other.microphone if self.microphone is None else self.microphone,
            other.muted if self.muted is None else self.muted,
        )


def key_of(domid: int, uuid: str | None) -> str:
    """What a guest's orders are kept under."""
    return uuid.lower() if uuid else f"domain {domid}"


class Orders:
    """`file`: of those that last; without one none does. ConfigError if it is there and is not what
    give() writes."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self._lasting = {} if file is None else _read(file)
        self._now: dict[str, Order] = {}
        self._until_gone: dict[int, str] = {}

    def of(self, key: str) -> Order:
        """`key`: a UUID, or what else stands for a guest."""
        return self._now.get(key, Order()).over(self._lasting.get(key, Order()))

    def lasting(self, key: str) -> Order:
        """What will be left of it in the next process."""
        return self._lasting.get(key, Order())

    def applied(self, key: str, policy: DomainPolicy) -> DomainPolicy:
        order = self.of(key)
        if order.microphone is not None:
            policy = replace(policy, microphone=order.microphone, ask_microphone=False)
        if order.muted is not None:
            policy = replace(policy, muted=order.muted)
        return policy

    def give(self, key: str, order: Order, *, always: bool) -> None:
        """ConfigError if it is to last and cannot be written down: then nothing has changed."""
        if always:
            if self.file is None:
                raise ConfigError("no order lasts here")
            lasting = self._lasting | {key: order.over(self._lasting.get(key, Order()))}
            _write(self.file, lasting)
            self._lasting = lasting
        self._now[key] = order.over(self._now.get(key, Order()))
        self._until_gone = {gone: of for gone, of in self._until_gone.items() if of != key}

    def give_until_gone(self, key: str, order: Order, domid: int) -> None:
        """For as long as the domain runs, or until there is another order."""
        self.give(key, order, always=False)
        self._until_gone[domid] = key

    def forget_number(self, domid: int) -> None:
        """The domain is gone: the next one with its number is another."""
        self._now.pop(key_of(domid, None), None)
        if (key := self._until_gone.pop(domid, None)) is not None:
            muted = self._now.pop(key, Order()).muted
            self._now[key] = Order(muted=muted)


def _read(file: Path) -> dict[str, Order]:
    try:
        with file.open("rb") as stream:
            content = json.loads(stream.read(_MOST_BYTES))
        return {str(key): _order(value) for key, value in content.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ConfigError(f"{file} is not what this program wrote", hint="remove it") from None


def _order(value: Mapping[str, object]) -> Order:
    order = Order(**value)  # type: ignore[arg-type]
    if not all(part is None or isinstance(part, bool) for part in (order.microphone, order.muted)):
        raise ValueError
    return order


def _write(file: Path, orders: Mapping[str, Order]) -> None:
    """Either the old content or the new is there, whatever happens meanwhile."""
    new = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with new.open("w", encoding="utf-8") as stream:
            json.dump({key: asdict(order) for key, order in orders.items()}, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
    except OSError as error:
        raise ConfigError(
            f"cannot write {file}: {error.strerror}",
            hint="leave --always out, or write it into the policy file",
        ) from None
