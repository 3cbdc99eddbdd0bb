"""Settings of the two halves, each with its default, and the host's policy file.

The policy says what a guest may have; nothing that a guest can write changes it. It is TOML:

    [default]                       # every domain
    output = "pipewire"             # or "null", or "loopback,delay=40ms,gain=-6dB"
    microphone = false              # capture streams get silence
    targets = []                    # host devices that a unique-id may choose, "*" for any
    roles = ["*"]                   # media.role values that it may ask for
    max-streams = 32
    max-buffer-bytes = 1048576

    [domain.work]                   # what differs for the domain that xl calls "work"
    microphone = true
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from .errors import ConfigError

DEFAULT_POLICY_PATH = Path("/etc/xen-pv-audio/backend.toml")


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


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Where streams go: "pipewire", "null" or "loopback", with the virtual device's settings."""

    kind: str = "pipewire"
    delay_sec: float = 0.0
    gain: float = 1.0
    ppm: float = 0.0
    quantum_frames: int = 256
    jitter_sec: float = 0.0
    stall_sec: float = 0.0
    stall_every_sec: float = 0.0


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


def parse_output(text: str) -> OutputSpec:
    """ "loopback,delay=40ms,gain=-6dB,ppm=100" and the like; ConfigError for anything else."""
    kind, *options = text.split(",")
    if kind not in ("pipewire", "null", "loopback"):
        raise ConfigError(f'output "{kind}" is unknown', hint="use pipewire, null or loopback")
    spec = OutputSpec(kind)
    for option in options:
        name, _, value = option.partition("=")
        parsed: float | None = None
        if kind == "pipewire":
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


@dataclass(frozen=True, slots=True)
class DomainPolicy:
    """What one domain may have."""

    output: OutputSpec = field(default_factory=OutputSpec)
    microphone: bool = False
    targets: tuple[str, ...] = ()
    roles: tuple[str, ...] = ("*",)
    max_streams: int = 32
    max_buffer_bytes: int = 1 << 20

    def allows_target(self, target: str) -> bool:
        return "*" in self.targets or target in self.targets

    def allows_role(self, role: str) -> bool:
        return "*" in self.roles or role in self.roles


@dataclass(frozen=True, slots=True)
class Policy:
    """The default, and what is said for single domains by their names."""

    default: DomainPolicy = field(default_factory=DomainPolicy)
    domains: Mapping[str, DomainPolicy] = field(default_factory=dict)

    def of(self, domain_name: str) -> DomainPolicy:
        return self.domains.get(domain_name, self.default)


def load_policy(path: Path | None) -> Policy:
    """The policy file; without a path the default one, if it is there. ConfigError names file,
    table and key."""
    if path is None:
        if not DEFAULT_POLICY_PATH.exists():
            return Policy()
        path = DEFAULT_POLICY_PATH
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if unknown := sorted(set(content) - {"default", "domain"}):
        raise ConfigError(
            f"{path}: [{unknown[0]}] is unknown", hint="use [default] and [domain.NAME]"
        )
    default = _domain_policy(path, "default", content.get("default", {}), DomainPolicy())
    tables = content.get("domain", {})
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: domain is not a table", hint="use [domain.NAME]")
    domains = {
        name: _domain_policy(path, f"domain.{name}", table, default)
        for name, table in tables.items()
    }
    return Policy(default, domains)


_KEYS = {spec.name.replace("_", "-"): spec.name for spec in fields(DomainPolicy)}


def _domain_policy(path: Path, table: str, values: Any, base: DomainPolicy) -> DomainPolicy:
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: [{table}] is not a table")
    for key, value in values.items():
        if key not in _KEYS:
            raise ConfigError(
                f"{path}: [{table}] {key} is unknown", hint=f"known are {', '.join(_KEYS)}"
            )
        try:
            base = replace(base, **{_KEYS[key]: _typed(key, value)})
        except (ConfigError, ValueError) as error:
            raise ConfigError(f"{path}: [{table}] {key} = {value!r}: {error}") from None
    return base


def _typed(key: str, value: Any) -> Any:
    if key == "output":
        return parse_output(str(value))
    if key == "microphone":
        if not isinstance(value, bool):
            raise ValueError("is true or false")
        return value
    if key in ("targets", "roles"):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError("is a list of texts")
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("is a whole number above 0")
    return value
