"""A card's XenStore subtree as a guest may write it: any nodes, any values.

Invariant: it is a card, or one ConfigError in one printable line. What a card says is in bounds, a
lower level within what the upper one said; written out and read again it is the same card; one that
passes the policy meets none of its ceilings. The same for the ring's numbers and the unique-id.
"""

from __future__ import annotations

from fuzz.source import Source
from xenpvaudio.backend import policy, rings
from xenpvaudio.config import DomainPolicy
from xenpvaudio.errors import ConfigError, LocalProtocolError
from xenpvaudio.logs import quoting
from xenpvaudio.sndif import card
from xenpvaudio.sndif.codes import Key
from xenpvaudio.sndif.config_space import Interval
from xenpvaudio.testbed.testbed import card_nodes

KEYS = tuple(key.value for key in Key)
PREFIXES = ("", "0/", "1/", "0/0/", "0/1/", "0/2/", "1/0/", "00/", "0/0/0/", "-1/", "17/", "0//")
VALUES = (
    "", "0", "1", "2", "8", "64", "65", "255", "256", "48000", "44100,48000", "44100;48000",
    "768001", "4294967295", "4294967296", "00000001", "-1", "+1", "1e3", " 2", "\u0663", "\u00b2",
    "\u2028", "p", "c", "x", "s16_le", "s16_le,u8", "f32_le,float_le", "mpeg,gsm", "s16_le,,u8",
    "a" * 31, "a" * 32, "\u00e4" * 40, "a" * 81, "pulse<car.front>media.role:navi", "alsa<hw:0>",
    "pulse<>:", "\x1b[31m", "\u202eabc", "\udc80", "a\nb",
)  # fmt: skip
POLICY = DomainPolicy()


def _nodes(source: Source) -> tuple[dict[str, str], int]:
    nodes = card_nodes() if source.below(4) else {}
    changes = 0
    while source.left and changes < 200:
        changes += 1
        choice = source.below(16)
        path = source.pick(PREFIXES) + source.pick(KEYS)
        if choice == 0:
            nodes.pop(path, None)
        elif choice == 1:
            nodes[source.text()] = source.text()
        elif choice == 2:
            nodes[f"{source.below(18)}/{source.below(18)}/{source.pick(KEYS)}"] = "p"
        elif choice < 6:
            nodes[path] = source.text(100)
        else:
            nodes[path] = source.pick(VALUES)
    return nodes, changes


def _one_line(error: ConfigError) -> None:
    text = str(error)
    assert text and quoting.printable(text) == text, f"{text!r} is not printable"


def _check_stream(stream: card.StreamConfig) -> None:
    assert stream.formats and len(set(stream.formats)) == len(stream.formats)
    assert 1 <= stream.channels.min <= stream.channels.max <= 255
    assert 1 <= stream.buffer_bytes <= 0xFFFFFFFF
    rates = stream.rates
    if not isinstance(rates, Interval):
        assert rates and list(rates) == sorted(set(rates)) and 1 <= rates[0] <= 0xFFFFFFFF


def _check_policy(found: card.Card) -> None:
    try:
        policy.check_card(found, POLICY, "card")
    except ConfigError as error:
        _one_line(error)
        return
    for stream in found.streams:
        rates = stream.rates
        assert (rates.max if isinstance(rates, Interval) else rates[-1]) <= POLICY.max_rate
        assert stream.channels.max <= POLICY.max_channels


def _check_card(nodes: dict[str, str]) -> None:
    try:
        found = card.parse_card(nodes)
    except ConfigError as error:
        _one_line(error)
        return
    streams = tuple(found.streams)
    assert 0 < len(found.devices) <= 16 and len(streams) <= 256
    assert len(found.short_name.encode()) <= 32 and len(found.long_name.encode()) <= 80
    for stream in streams:
        _check_stream(stream)
        asked = card.parse_unique_id(stream.unique_id)
        for text in (asked.device, asked.prop_name, asked.prop_value):
            assert text.isprintable(), f"{text!r} is not printable"
    try:
        again = card.parse_card(card.to_nodes(found))
    except LocalProtocolError:
        pass  # an interval of rates that no list of nodes can say
    else:
        assert again == found, "written and read again, it is another card"
    _check_policy(found)


def _check_transport(nodes: dict[str, str]) -> None:
    try:
        numbers = rings.read_transport(nodes, "0/0")
    except ConfigError as error:
        _one_line(error)
    else:
        assert len(numbers) == 4 and all(0 <= number < 1 << 32 for number in numbers)


def run(data: bytes) -> int:
    """How many changes were made to a card."""
    nodes, changes = _nodes(Source(data))
    _check_card(nodes)
    _check_transport(nodes)
    return changes
