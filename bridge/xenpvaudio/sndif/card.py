"""A vsnd device's XenStore subtree <-> Card, PcmDevice, StreamConfig. Pure; any thread.

The subtree is a mapping of relative path to value ("0/0/type": "p"). Channels, rates, formats and
the buffer size are inherited card -> device -> stream, and a lower level must choose a subset of
what an upper level *said* (sndif.h, PCM settings); what nobody said is the kernel frontend's
default and binds nobody. A StreamConfig holds what came out of that. The guest can write all of it:
every mistake is one ConfigError that names the node and the value, and sizes are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from xenpvaudio.errors import ConfigError, LocalProtocolError
from xenpvaudio.logs.quoting import quote

from .codes import (
    FORMAT_BY_NAME,
    FORMAT_NAME_MAX_LEN,
    LIST_SEPARATOR,
    RATE_MAX_LEN,
    Direction,
    Key,
    PcmFormat,
)
from .config_space import Interval

# Bounds for what a hostile guest may make us set up; real cards have a handful.
MAX_DEVICES = 16
MAX_STREAMS = 16

# sndif.h: short-name is char[32], long-name and name are char[80].
SHORT_NAME_MAX_BYTES = 32
LONG_NAME_MAX_BYTES = 80

# What Linux's frontend takes where nothing is set (snd_xen_front, default PCM hardware).
DEFAULT_FORMATS = (PcmFormat.U8, PcmFormat.S16_LE)
DEFAULT_RATES = Interval(5512, 48000)
DEFAULT_CHANNELS = Interval(1, 2)
DEFAULT_BUFFER_BYTES = 64 * 1024

_MAX_U8, _MAX_U32 = 0xFF, 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """One stream as configured, after inheritance.

    `rates`: the listed rates in ascending order, or an Interval of which every rate will do (only
    when nobody listed any). `buffer_bytes`: the largest buffer that OPEN may ask for.
    """

    device_index: int
    index: int
    direction: Direction
    unique_id: str = ""
    formats: tuple[PcmFormat, ...] = DEFAULT_FORMATS
    rates: tuple[int, ...] | Interval = DEFAULT_RATES
    channels: Interval = DEFAULT_CHANNELS
    buffer_bytes: int = DEFAULT_BUFFER_BYTES

    @property
    def path(self) -> str:
        """The stream's directory below the device's: "0/1"."""
        return f"{self.device_index}/{self.index}"


@dataclass(frozen=True, slots=True)
class PcmDevice:
    """One PCM device of a card: a name and its streams."""

    index: int
    name: str = ""
    streams: tuple[StreamConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """One vsnd device of a domain."""

    short_name: str = ""
    long_name: str = ""
    devices: tuple[PcmDevice, ...] = ()

    @property
    def streams(self) -> Iterator[StreamConfig]:
        """All streams, device by device."""
        return (stream for device in self.devices for stream in device.streams)


def parse_card(nodes: Mapping[str, str], *, where: str = "vsnd") -> Card:
    """The card that `nodes` describe; `where` is the directory's name in error messages.

    Indices count up from 0 until one is missing, as in the kernel's frontend; other nodes (rings,
    states, later extensions) are ignored. Raises ConfigError.
    """
    tree = _Tree(nodes, where)
    settings = _Settings().refined(tree, "")
    devices = []
    for index in tree.indices("", MAX_DEVICES, "PCM devices"):
        devices.append(_parse_device(tree, index, settings))
    if not devices:
        raise ConfigError(f"{where} has no PCM device", hint=f"set {where}/0/0/{Key.TYPE}")
    return Card(
        tree.name(Key.SHORT_NAME, SHORT_NAME_MAX_BYTES),
        tree.name(Key.LONG_NAME, LONG_NAME_MAX_BYTES),
        tuple(devices),
    )


def _parse_device(tree: _Tree, index: int, card: _Settings) -> PcmDevice:
    prefix = f"{index}/"
    settings = card.refined(tree, prefix)
    streams = []
    for number in tree.indices(prefix, MAX_STREAMS, "streams"):
        streams.append(_parse_stream(tree, index, number, settings))
    if not streams:
        raise ConfigError(
            f"{tree.where}/{index} has no stream", hint=f"set {tree.where}/{index}/0/{Key.TYPE}"
        )
    name = tree.name(prefix + Key.DEVICE_NAME, LONG_NAME_MAX_BYTES)
    return PcmDevice(index, name, tuple(streams))


def _parse_stream(tree: _Tree, device: int, index: int, above: _Settings) -> StreamConfig:
    prefix = f"{device}/{index}/"
    settings = above.refined(tree, prefix)
    node = prefix + Key.TYPE
    kind = tree.get(node)
    if kind is None:
        raise ConfigError(
            f"{tree.where}/{node} is missing", hint='set it to "p" (playback) or "c" (capture)'
        )
    try:
        direction = Direction(kind)
    except ValueError:
        raise tree.error(node, 'a stream is "p" (playback) or "c" (capture)') from None
    if not settings.channels:
        raise tree.error(
            settings.said[Key.CHANNELS_MIN],  # nobody's minimum is 1, which no maximum is below
            f"{Key.CHANNELS_MIN} {settings.channels.min} is more than "
            f"{Key.CHANNELS_MAX} {settings.channels.max}"
            + ("" if Key.CHANNELS_MAX in settings.said else ", the default,")
            + f" of {tree.where}/{prefix[:-1]}",
            hint=f"set {Key.CHANNELS_MAX}",
        )
    return StreamConfig(
        device,
        index,
        direction,
        tree.text(prefix + Key.UNIQUE_ID),
        settings.formats,
        settings.rates,
        settings.channels,
        settings.buffer_bytes,
    )


@dataclass(frozen=True, slots=True)
class _Settings:
    """The inherited values at one level, and which node said each that was said at all."""

    formats: tuple[PcmFormat, ...] = DEFAULT_FORMATS
    rates: tuple[int, ...] | Interval = DEFAULT_RATES
    channels: Interval = DEFAULT_CHANNELS
    buffer_bytes: int = DEFAULT_BUFFER_BYTES
    said: Mapping[str, str] = field(default_factory=dict)

    def refined(self, tree: _Tree, prefix: str) -> _Settings:
        """These values with what the level at `prefix` says about them."""
        said: dict[str, str] = {
            key: prefix + key for key in _INHERITED if tree.get(prefix + key) is not None
        }
        new = replace(self, said={**self.said, **said})
        if node := said.get(Key.SAMPLE_FORMATS):
            new = replace(new, formats=tree.formats(node))
            odd = set(new.formats) - set(self.formats)
            self._check_subset(tree, Key.SAMPLE_FORMATS, node, [f.xenstore_name for f in odd])
        if node := said.get(Key.SAMPLE_RATES):
            rates = tree.rates(node)
            new = replace(new, rates=rates)
            above = self.rates if isinstance(self.rates, Interval) else frozenset(self.rates)
            self._check_subset(tree, Key.SAMPLE_RATES, node, [r for r in rates if r not in above])
        if node := said.get(Key.CHANNELS_MIN):
            low = tree.number(node, _MAX_U8)
            new = replace(new, channels=Interval(low, new.channels.max))
            odd_low = [low] if low < self.channels.min else []
            self._check_subset(tree, Key.CHANNELS_MIN, node, odd_low)
        if node := said.get(Key.CHANNELS_MAX):
            high = tree.number(node, _MAX_U8)
            new = replace(new, channels=Interval(new.channels.min, high))
            odd_high = [high] if high > self.channels.max else []
            self._check_subset(tree, Key.CHANNELS_MAX, node, odd_high)
        if node := said.get(Key.BUFFER_SIZE):
            # Not one of the values that the header's subset rule names: a level may say more.
            new = replace(new, buffer_bytes=tree.number(node, _MAX_U32))
        return new

    def _check_subset(self, tree: _Tree, key: Key, node: str, odd: list[str] | list[int]) -> None:
        if odd and key in self.said:
            listed = LIST_SEPARATOR.join(map(str, sorted(odd, key=str)))
            upper = self.said[key]
            raise tree.error(
                node,
                f"{listed} is outside of {tree.where}/{upper} = {quote(tree.nodes[upper])}",
                hint="a lower level must be a subset of the upper one",
            )


_INHERITED = (
    Key.SAMPLE_FORMATS,
    Key.SAMPLE_RATES,
    Key.CHANNELS_MIN,
    Key.CHANNELS_MAX,
    Key.BUFFER_SIZE,
)


class _Tree:
    """Typed reading of one subtree; each method raises ConfigError naming the node and value."""

    def __init__(self, nodes: Mapping[str, str], where: str) -> None:
        self.nodes = nodes
        self.where = where
        self._present = set(nodes)
        for node in nodes:
            while "/" in node:
                node = node.rpartition("/")[0]
                self._present.add(node)

    def error(self, node: str, problem: str, *, hint: str = "") -> ConfigError:
        value = quote(self.nodes.get(node, ""))
        return ConfigError(f"{self.where}/{node} = {value}: {problem}", hint=hint)

    def indices(self, prefix: str, limit: int, what: str) -> range:
        """0, 1, ... as long as such directories are there; ConfigError past `limit` of them."""
        count = 0
        while f"{prefix}{count}" in self._present:
            count += 1
            if count > limit:
                place = f"{self.where}/{prefix}".rstrip("/")
                raise ConfigError(f"{place} has more than {limit} {what}")
        return range(count)

    def get(self, node: str) -> str | None:
        return self.nodes.get(node)

    def text(self, node: str) -> str:
        value = self.nodes.get(node, "")
        if not value.isprintable():
            raise self.error(node, "control characters are not allowed")
        return value

    def name(self, node: str, limit_bytes: int) -> str:
        value = self.text(node)
        if len(value.encode()) > limit_bytes:
            raise self.error(node, f"a name has at most {limit_bytes} bytes")
        return value

    def number(self, node: str, largest: int) -> int:
        """A decimal number from 1 to `largest`."""
        return self._number(node, self.nodes[node], largest)

    def _number(self, node: str, item: str, largest: int) -> int:
        if not (item.isascii() and item.isdecimal() and len(item) < RATE_MAX_LEN):
            raise self.error(node, f"{quote(item)} is not a decimal number")
        number = int(item)
        if not 1 <= number <= largest:
            raise self.error(node, f"{number} is not in 1..{largest}")
        return number

    def _items(self, node: str) -> list[str]:
        return [item.strip() for item in self.nodes[node].split(LIST_SEPARATOR)]

    def rates(self, node: str) -> tuple[int, ...]:
        return tuple(sorted({self._number(node, item, _MAX_U32) for item in self._items(node)}))

    def formats(self, node: str) -> tuple[PcmFormat, ...]:
        found = set()
        for item in self._items(node):
            if len(item) > FORMAT_NAME_MAX_LEN or item not in FORMAT_BY_NAME:
                raise self.error(
                    node,
                    f"unknown sample format {quote(item)}",
                    hint="use names of xen/io/sndif.h such as s16_le, s32_le, float_le",
                )
            found.add(FORMAT_BY_NAME[item])
        return tuple(sorted(found))


def to_nodes(card: Card) -> dict[str, str]:
    """The subtree of `card`, without transport nodes: parse_card() gives the same card back.

    What all streams share is written once, on the card's level. LocalProtocolError: indices with
    gaps, or an interval of rates (other than the default, which is written by saying nothing).
    """
    nodes = {Key.SHORT_NAME.value: card.short_name, Key.LONG_NAME.value: card.long_name}
    per_stream = {stream.path: _stream_nodes(stream) for stream in card.streams}
    all_items = [set(items.items()) for items in per_stream.values()]
    shared = set.intersection(*all_items) if all_items else set()
    nodes |= dict(sorted(shared))
    for number, device in enumerate(card.devices):
        if device.index != number:
            raise LocalProtocolError(f"PCM device {device.index} follows {number - 1}")
        nodes[f"{number}/{Key.DEVICE_NAME}"] = device.name
        for index, stream in enumerate(device.streams):
            if (stream.device_index, stream.index) != (number, index):
                raise LocalProtocolError(f"stream {stream.path} stands at {number}/{index}")
            nodes[f"{stream.path}/{Key.TYPE}"] = stream.direction.value
            nodes[f"{stream.path}/{Key.UNIQUE_ID}"] = stream.unique_id
            for key, value in per_stream[stream.path].items():
                if (key, value) not in shared:
                    nodes[f"{stream.path}/{key}"] = value
    return {node: value for node, value in nodes.items() if value}


def _stream_nodes(stream: StreamConfig) -> dict[str, str]:
    nodes = {
        Key.SAMPLE_FORMATS.value: LIST_SEPARATOR.join(fmt.xenstore_name for fmt in stream.formats),
        Key.CHANNELS_MIN.value: str(stream.channels.min),
        Key.CHANNELS_MAX.value: str(stream.channels.max),
        Key.BUFFER_SIZE.value: str(stream.buffer_bytes),
    }
    if not isinstance(stream.rates, Interval):
        nodes[Key.SAMPLE_RATES.value] = LIST_SEPARATOR.join(map(str, stream.rates))
    elif stream.rates != DEFAULT_RATES:
        raise LocalProtocolError(f"rates {stream.rates} cannot be written as a list")
    return nodes


@dataclass(frozen=True, slots=True)
class HostRequest:
    """Where a stream's unique-id asks to be played; empty fields ask for nothing.

    Only a request: the guest can write the node, so the host's policy decides what it honours.
    """

    pcm_type: str = ""
    device: str = ""
    prop_name: str = ""
    prop_value: str = ""


_UNIQUE_ID = re.compile(
    r"(?P<type>pulse|alsa)(?:<(?P<device>[^>]*)>(?:(?P<name>[^:]*):(?P<value>.+))?)?",
    re.IGNORECASE,
)


def parse_unique_id(unique_id: str) -> HostRequest:
    """snd_be's syntax, `pcmtype<device>propname:propvalue`, all but the type optional.

    In `device` a ";" stands for "," (xl splits its lists at commas). A property without a name is
    media.role, as in snd_be. Any other text (a number, an UUID) is a plain identifier: an empty
    HostRequest.
    """
    found = _UNIQUE_ID.fullmatch(unique_id)
    if found is None:
        return HostRequest()
    value = found["value"] or ""
    return HostRequest(
        found["type"].lower(),
        (found["device"] or "").replace(";", ","),
        (found["name"] or "media.role") if value else "",
        value,
    )
