"""Settings of the two halves, each with its default, and the host's policy file.

The policy says what a guest may have; nothing that a guest can write changes it. backend/policy.py
holds guests to it. It is TOML:

    [default]                       # every domain
    output = "pipewire"             # or "pulse", "alsa:hw:0,0", "null", "loopback,delay=40ms"
    microphone = false              # capture streams get silence; "ask": until the user is asked
    muted = false                   # its streams start muted in the host's mixer
    targets = []                    # host devices that a unique-id may choose, "*" for any
    roles = []                      # media.role values that it may ask for
    max-streams = 32                # and the other ceilings, see DomainPolicy

    [domain.work]                   # what differs for the domain that xl calls "work"
    microphone = true

    [domid.5]                       # for the domain with that number
    [uuid.6a9f0c1e-...]             # for the domain with that UUID, which counts before the others
    [unnamed]                       # for domains whose name this one may not read
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from .errors import ConfigError
from .logs.quoting import quote
from .toml_file import TomlFile, read_toml

DEFAULT_POLICY_PATH = Path("/etc/xen-pv-audio/backend.toml")


SERVED = ("pipewire", "alsa")
"""PipeWire, or without it programs that open the plugin's ALSA devices."""


@dataclass(frozen=True, slots=True)
class FrontendSettings:
    """What the guest's frontend prefers; the backend may narrow it."""

    rate: int = 48000
    channels: int = 2
    period_frames: int = 512
    buffer_frames: int = 16384
    quantum_frames: int = 1024
    lead_frames: int = 0  # 0: as much as the host needs
    pulse_delay: bool = False  # tell PulseAudio's clients the true delay, at the price of others
    keep_silent_microphone: bool = False  # available in mixers also while the host gives none
    serve: str = "pipewire"  # whom its streams are for, one of SERVED


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Where streams go: "pipewire", "pulse", "alsa" with a device, "null" or "loopback" with the
    virtual device's settings."""

    kind: str = "pipewire"
    device: str = ""  # alsa-lib's name of it
    delay_sec: float = 0.0
    gain: float = 1.0
    ppm: float = 0.0
    quantum_frames: int = 256
    jitter_sec: float = 0.0
    stall_sec: float = 0.0
    stall_every_sec: float = 0.0

    @property
    def virtual(self) -> bool:
        """It is no device of the host's."""
        return self.kind in ("null", "loopback")


_QUANTITY = re.compile(r"(?P<number>[-+]?[0-9.]+)(?P<unit>[a-zA-Z]*)")


def _number(item: str, units: Mapping[str, float]) -> float | None:
    found = _QUANTITY.fullmatch(item)
    if not found or found["unit"] not in units:
        return None
    try:
        return float(found["number"]) * units[found["unit"]]
    except ValueError:
        return None


def _stall(item: str) -> tuple[float, float] | None:
    """ "50ms/10s": how long, and how often."""
    length, _, every = item.partition("/")
    units = {"ms": 1e-3, "s": 1.0}
    parsed = _number(length, units), _number(every, units)
    if parsed[0] is None or parsed[1] is None or not 0 < parsed[0] < parsed[1]:
        return None
    return parsed[0], parsed[1]


_MOST_DEVICE_NAME = 120  # characters; alsa/alsa.h has room for more


def _alsa_device(text: str) -> str:
    """Of "alsa:hw:0,0": what alsa-lib is given, commas and all. ConfigError if it is none."""
    device = text.partition(":")[2]
    if not device or not device.isascii() or not device.isprintable() or device != device.strip():
        raise ConfigError(f'output "{text}" names no device', hint="write for example alsa:hw:0,0")
    if len(device) > _MOST_DEVICE_NAME:
        raise ConfigError(f'output "{text}": a device has at most {_MOST_DEVICE_NAME} characters')
    return device


def parse_output(text: str) -> OutputSpec:
    """ "loopback,delay=40ms,gain=-6dB,ppm=100" and the like; ConfigError for anything else."""
    if text.partition(":")[0] == "alsa":
        return OutputSpec("alsa", device=_alsa_device(text))
    kind, *options = text.split(",")
    if kind not in ("pipewire", "pulse", "null", "loopback"):
        raise ConfigError(
            f'output "{kind}" is unknown', hint="use pipewire, pulse, alsa:DEVICE, null or loopback"
        )
    spec = OutputSpec(kind)
    for option in options:
        name, _, value = option.partition("=")
        parsed: float | None = None
        if not spec.virtual:
            pass
        elif name == "delay" and (parsed := _number(value, {"ms": 1e-3, "s": 1.0})) is not None:
            spec = replace(spec, delay_sec=parsed)
        elif name == "gain" and (parsed := _number(value, {"dB": 1.0})) is not None:
            spec = replace(spec, gain=10.0 ** (parsed / 20))
        elif name == "gain" and (parsed := _number(value, {"": 1.0})) is not None:
            spec = replace(spec, gain=parsed)
        elif name == "ppm" and (parsed := _number(value, {"": 1.0})) is not None:
            spec = replace(spec, ppm=parsed)
        elif name == "jitter" and (parsed := _number(value, {"ms": 1e-3, "s": 1.0})) is not None:
            spec = replace(spec, jitter_sec=parsed)
        elif name == "stall" and (stall := _stall(value)) is not None:
            parsed, every = stall
            spec = replace(spec, stall_sec=parsed, stall_every_sec=every)
        elif name == "quantum" and (parsed := _number(value, {"": 1.0})) is not None:
            spec = replace(spec, quantum_frames=int(parsed))
        if parsed is None:
            raise ConfigError(
                f'output "{text}": "{option}" is not understood',
                hint='write for example "loopback,delay=40ms,gain=-6dB,ppm=100,quantum=256,'
                'jitter=0.5ms,stall=50ms/10s"',
            )
    if not 0 <= spec.delay_sec <= 10 or not 16 <= spec.quantum_frames <= 8192:
        raise ConfigError(f'output "{text}": a delay is 0 to 10 s, a quantum 16 to 8192 frames')
    if not 0 <= spec.jitter_sec <= 0.1 or spec.stall_sec > 1:
        raise ConfigError(f'output "{text}": jitter is at most 100 ms, a stall 1 s')
    if abs(spec.ppm) > 1000 or abs(spec.gain) > 16:
        raise ConfigError(f'output "{text}": ppm is within +-1000, a gain at most 16')
    return spec


# PipeWire's words (pipewire/keys.h, PW_KEY_MEDIA_ROLE), PulseAudio's (proplist.h,
# PA_PROP_MEDIA_ROLE), and those of cars (WirePlumber's roles, snd_be's configurations).
ROLES = (
    *("Movie", "Music", "Camera", "Screen", "Communication", "Game", "Notification", "DSP"),
    *("Production", "Accessibility", "Test"),
    *("video", "music", "game", "event", "phone", "animation", "production", "a11y", "test"),
    *("Multimedia", "Speech-Low", "Speech-High", "Navigation", "Alert", "Emergency", "navi"),
)


@dataclass(frozen=True, slots=True)
class DomainPolicy:
    """What one domain may have. The ceilings are such that Linux's frontend, ours with periods of
    64 frames, and a guest with ten streams do not meet them."""

    output: OutputSpec = field(default_factory=OutputSpec)
    microphone: bool = False
    ask_microphone: bool = False  # microphone = "ask": the host's user is asked, denied until then
    muted: bool = False
    targets: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    max_cards: int = 8
    max_streams: int = 32  # of all its cards
    max_rate: int = 768000
    max_channels: int = 64
    min_period_frames: int = 16
    max_events_per_sec: int = 1000  # position events of a stream, ticks of a virtual device
    max_all_events_per_sec: int = 10000  # position events of all its streams
    max_samples_per_sec: int = 6_144_000  # of all its streams: 64 channels at 96 kHz
    min_quantum_frames: int = 64  # at 48 kHz: the shortest host quantum that it may ask for
    max_buffer_bytes: int = 1 << 20  # shared with a stream
    max_store_bytes: int = 1 << 23  # our own memory behind that
    max_resampler_bytes: int = 1 << 22  # PipeWire's filter between a stream's rate and the host's
    max_memory_bytes: int = 1 << 26  # all three, of all its streams, and of virtual devices
    max_opens_burst: int = 64  # of all its streams, then so many a second; the rest waits
    max_opens_per_sec: int = 16
    max_xenstore_burst: int = 2000  # requests of ours that its cards cause, likewise
    max_xenstore_per_sec: int = 200

    def allows_target(self, target: str) -> bool:
        return "*" in self.targets or target in self.targets

    def allows_role(self, role: str) -> bool:
        return role in self.roles


@dataclass(frozen=True, slots=True)
class Policy:
    """The default, and what is said for single domains."""

    default: DomainPolicy = field(default_factory=DomainPolicy)
    domains: Mapping[str, DomainPolicy] = field(default_factory=dict)  # by name
    domids: Mapping[int, DomainPolicy] = field(default_factory=dict)
    uuids: Mapping[str, DomainPolicy] = field(default_factory=dict)  # in lower case
    unnamed: DomainPolicy | None = None

    def of(
        self, name: str | None, domid: int | None = None, uuid: str | None = None
    ) -> DomainPolicy:
        """What holds for a domain, by its UUID, number or name, the first that is in the policy.
        ConfigError if `name` is None, which cannot be read: what is said for it by name must not
        be missed."""
        if uuid is not None and uuid.lower() in self.uuids:
            return self.uuids[uuid.lower()]
        if domid is not None and domid in self.domids:
            return self.domids[domid]
        if name is not None:
            return self.domains.get(name, self.default)
        if self.unnamed is not None:
            return self.unnamed
        number = "N" if domid is None else domid
        raise ConfigError(
            f"the name of domain {number} cannot be read, so no policy is known for it",
            hint=f"add [domid.{number}] or [unnamed] to the policy file, or let this domain read "
            f"/local/domain/{number}/name",
        )

    @property
    def tables(self) -> Iterator[DomainPolicy]:
        """All that is said."""
        yield self.default
        for tables in (self.domains, self.domids, self.uuids):
            yield from tables.values()
        if self.unnamed is not None:
            yield self.unnamed

    def changed(self, change: Callable[[DomainPolicy], DomainPolicy]) -> Policy:
        """With `change` in every table."""
        return Policy(
            change(self.default),
            {name: change(table) for name, table in self.domains.items()},
            {domid: change(table) for domid, table in self.domids.items()},
            {uuid: change(table) for uuid, table in self.uuids.items()},
            None if self.unnamed is None else change(self.unnamed),
        )


_TABLES = ("default", "domain", "domid", "uuid", "unnamed")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def load_policy(path: Path | None) -> Policy:
    """The policy file; without a path the default one, if it is there. ConfigError names file,
    table and key."""
    file = read_toml(path or DEFAULT_POLICY_PATH, by_default=path is None)
    if file is None:
        return Policy()
    path, content = file.path, file.content
    if unknown := sorted(set(content) - set(_TABLES)):
        raise ConfigError(
            f"{path}: [{unknown[0]}] is unknown",
            hint="use [default], [domain.NAME], [domid.NUMBER], [uuid.UUID] and [unnamed]",
        )
    default = _domain_policy(file, "default", content.get("default", {}), DomainPolicy())

    def tables(kind: str) -> dict[str, DomainPolicy]:
        found = content.get(kind, {})
        if not isinstance(found, dict) or not all(isinstance(t, dict) for t in found.values()):
            raise ConfigError(
                f"{path}: {kind} is no table of tables", hint=f"use [{kind}.{_WHO[kind]}]"
            )
        return {
            who: _domain_policy(file, f"{kind}.{who}", table, default)
            for who, table in found.items()
        }

    return Policy(
        default,
        tables("domain"),
        {_domid(path, who): table for who, table in tables("domid").items()},
        {_uuid(path, who): table for who, table in tables("uuid").items()},
        _domain_policy(file, "unnamed", content["unnamed"], default)
        if "unnamed" in content
        else None,
    )


_WHO = {"domain": "NAME", "domid": "NUMBER", "uuid": "UUID"}


def _domid(path: Path, who: str) -> int:
    if not (who.isascii() and who.isdecimal() and len(who) <= 5 and int(who) < 0x7FF0):
        raise ConfigError(f"{path}: [domid.{who}] is no domain's number")
    return int(who)


def _uuid(path: Path, who: str) -> str:
    if not _UUID.fullmatch(who.lower()):
        raise ConfigError(f"{path}: [uuid.{who}] is no UUID", hint="`xl list -v` shows it")
    return who.lower()


POLICY_KEYS = {
    spec.name.replace("_", "-"): spec.name
    for spec in fields(DomainPolicy)
    if spec.name != "ask_microphone"
}
# What a ceiling itself may be, from 1 on: PipeWire has positions for 64 channels.
_MOST = {
    "max-cards": 1024,
    "max-streams": 1024,
    "max-rate": 10_000_000,
    "max-channels": 64,
    "min-period-frames": 8192,
    "max-events-per-sec": 100_000,
    "max-all-events-per-sec": 10_000_000,
    "max-samples-per-sec": 100_000_000_000,
    "min-quantum-frames": 8192,
    "max-buffer-bytes": 1 << 30,
    "max-store-bytes": 1 << 31,
    "max-resampler-bytes": 1 << 31,
    "max-memory-bytes": 1 << 40,
    "max-opens-burst": 100_000,
    "max-opens-per-sec": 100_000,
    "max-xenstore-burst": 10_000_000,
    "max-xenstore-per-sec": 10_000_000,
}


def _domain_policy(file: TomlFile, table: str, values: Any, base: DomainPolicy) -> DomainPolicy:
    if not isinstance(values, dict):
        raise ConfigError(f"{file.path}: [{table}] is not a table")
    for key, value in values.items():
        if key not in POLICY_KEYS:
            raise file.unknown(table, key, POLICY_KEYS)
        try:
            base = replace(base, **_typed(key, value))
        except (ConfigError, ValueError) as error:
            where = f"{file.at(table, key)}: [{table}] {key}"
            raise ConfigError(f"{where} = {value!r}: {error}") from None
    return base


def _typed(key: str, value: Any) -> dict[str, Any]:
    """What the key sets."""
    if key == "microphone":
        if value != "ask" and not isinstance(value, bool):
            raise ValueError('is true, false or "ask"')
        return {"microphone": value is True, "ask_microphone": value == "ask"}
    return {POLICY_KEYS[key]: _plain(key, value)}


def _plain(key: str, value: Any) -> Any:
    if key == "output":
        return parse_output(str(value))
    if key == "muted":
        if not isinstance(value, bool):
            raise ValueError("is true or false")
        return value
    if key in ("targets", "roles"):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError("is a list of texts")
        if key == "roles" and (odd := [item for item in value if item not in ROLES]):
            raise ValueError(f"{quote(odd[0])} is no role; the roles are {', '.join(ROLES)}")
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST[key]:
        raise ValueError(f"is a whole number from 1 to {_MOST[key]}")
    return value
