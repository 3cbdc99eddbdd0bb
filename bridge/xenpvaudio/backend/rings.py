"""The two ring pages and event channels of one stream, as its guest published them."""

from __future__ import annotations

from xenpvaudio.errors import ConfigError, PeerGoneError
from xenpvaudio.logs.quoting import quote
from xenpvaudio.sndif.codes import Key
from xenpvaudio.xen.api import Channel, Domain, Mapping

TRANSPORT = (Key.RING_REF, Key.EVENT_CHANNEL, Key.EVT_RING_REF, Key.EVT_EVENT_CHANNEL)

Transport = tuple[int, int, int, int]


def read_transport(nodes: dict[str, str], path: str) -> Transport:
    """The four numbers that a stream publishes; ConfigError names the node that is wrong."""
    numbers = []
    for key in TRANSPORT:
        text = nodes.get(f"{path}/{key}", "")
        if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < 1 << 32):
            raise ConfigError(f"{path}/{key} = {quote(text, 16)} is no number")
        numbers.append(int(text))
    return (numbers[0], numbers[1], numbers[2], numbers[3])


class Rings:
    """`transport`: ring-ref, event-channel, evt-ring-ref, evt-event-channel. PeerGoneError names
    the node that is to blame, and nothing is held then."""

    def __init__(self, domain: Domain, peer: int, path: str, transport: Transport) -> None:
        self.pages: list[Mapping] = []
        self.channels: list[Channel] = []
        ring_ref, port, evt_ring_ref, evt_port = transport
        grants, channels = domain.grants, domain.channels
        key, number = Key.RING_REF, ring_ref
        try:
            self.pages.append(grants.map(peer, [number]))
            key, number = Key.EVT_RING_REF, evt_ring_ref
            self.pages.append(grants.map(peer, [number]))
            key, number = Key.EVENT_CHANNEL, port
            self.channels.append(channels.bind_interdomain(peer, number))
            key, number = Key.EVT_EVENT_CHANNEL, evt_port
            self.channels.append(channels.bind_interdomain(peer, number))
        except BaseException as error:
            self.close()
            if isinstance(error, PeerGoneError):
                raise PeerGoneError(f"{path}/{key} = {number}: {error}") from None
            raise

    def close(self) -> None:
        for page in self.pages:
            page.close()
        for channel in self.channels:
            channel.close()
        self.pages, self.channels = [], []
