"""What a hostile guest does, by name: one function for each way. Each goes on as fast as it can for
as long as `scene` lasts, and returns how often it did it: an attack that did nothing is no proof.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.api import XenStoreError

from . import header
from .guest import Card, Stream
from .honest import Player

MOST_NODES = 976  # what a guest may have beside its card's, by xenstored's quota


@dataclass
class Scene:
    directory: str
    domid: int
    seconds: float
    _opened: list[Card] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds

    def begin(self) -> None:
        """What comes before is not part of the attack."""
        print("ready", flush=True)
        self._end = time.monotonic() + self.seconds

    @property
    def lasts(self) -> bool:
        return time.monotonic() < self._end

    def card(self, devid: int = 0) -> Card:
        self._opened.append(Card(self.directory, self.domid, devid))
        return self._opened[-1]


Nodes = Mapping[str, str]


@dataclass(frozen=True)
class Attack:
    run: Callable[[Scene], int]
    nodes: Nodes = field(default_factory=card_nodes)


ONE = card_nodes(capture=False)
A_PCM = 16  # streams that a PCM device may have


def paths(streams: int) -> list[str]:
    return [f"{number // A_PCM}/{number % A_PCM}" for number in range(streams)]


def many(streams: int, kind: str = "p", **more: str) -> dict[str, str]:
    """A card with that many streams."""
    nodes = {key: text for key, text in card_nodes().items() if not key.startswith("0/")}
    for path in paths(streams):
        nodes |= {f"{path[0]}/name": "Many"}
        nodes |= {f"{path}/type": kind, f"{path}/unique-id": path}
    return nodes | {key.replace("_", "-"): text for key, text in more.items()}


def is_opened(stream: Stream, directory: int, **shape: int) -> bool:
    status, _ = stream.ask(header.OPEN, header.open_body(directory, **shape))
    return status == 0


def opened(stream: Stream, pages: int = 64) -> None:
    directory, _ = stream.share(pages)
    buffer_bytes = pages * header.PAGE
    shape = {"buffer_bytes": buffer_bytes, "period_bytes": buffer_bytes // 4}
    assert is_opened(stream, directory, **shape)


# --- the ring -------------------------------------------------------------------------------------


def full_ring(scene: Scene) -> int:
    """WRITEs of 256 KiB, as many as the ring holds, always."""
    (stream,) = scene.card().connect("0/0")
    opened(stream)
    stream.ask(header.TRIGGER, header.TRIGGER_REQ.pack(header.START))
    body = header.RW_REQ.pack(0, 64 * header.PAGE)
    scene.begin()
    while scene.lasts:
        stream.take_answers()
        stream.answers.clear()
        while stream.waiting < header.RING_SLOTS:
            stream.put(header.WRITE, body)
        stream.channel.notify()
    return stream.sent


def empty_wake_ups(scene: Scene) -> int:
    """Events on both channels of ten streams, and nothing in their rings."""
    streams = scene.card().connect(*paths(10))
    count = 0
    scene.begin()
    while scene.lasts:
        for stream in streams:
            stream.channel.notify()
            stream.event_channel.notify()
            count += 2
    return count


def flood(scene: Scene, operation: int, body: bytes, streams: list[Stream]) -> int:
    """One request after the other on all of them, as soon as there is room."""
    scene.begin()
    while scene.lasts:
        for stream in streams:
            stream.take_answers()
            stream.answers.clear()
            told = False
            while stream.waiting < header.RING_SLOTS:
                stream.put(operation, body)
                told = True
            if told:
                stream.channel.notify()
        time.sleep(0)
    return sum(stream.answered for stream in streams)


def queries(scene: Scene) -> int:
    streams = scene.card().connect(*paths(16))
    return flood(scene, header.QUERY, header.query_body((1, 255)), streams)


def volumes(scene: Scene) -> int:
    (stream,) = scene.card().connect("0/0")
    opened(stream)
    return flood(scene, header.SET_VOLUME, header.RW_REQ.pack(0, 8), [stream])


def triggers(scene: Scene) -> int:
    """START and STOP in turns, each waking or resting the host's stream."""
    (stream,) = scene.card().connect("0/0")
    opened(stream)
    count = 0
    scene.begin()
    while scene.lasts:
        for kind in (header.START, header.STOP):
            stream.ask(header.TRIGGER, header.TRIGGER_REQ.pack(kind), 5.0)
            count += 1
    return count


# --- OPEN -----------------------------------------------------------------------------------------


def refused_opens(scene: Scene) -> int:
    """Directories that are no references of the guest's, on ten streams."""
    streams = scene.card().connect(*paths(10))
    return flood(scene, header.OPEN, header.open_body(999999), streams)


def open_close(scene: Scene) -> int:
    """On ten streams at once, each time in another shape."""
    streams = scene.card().connect(*paths(10))
    shapes = [
        (header.open_body(stream.share(4)[0]), header.open_body(stream.share(4)[0], channels=1))
        for stream in streams
    ]
    done = [0] * len(streams)
    scene.begin()
    while scene.lasts:
        for number, stream in enumerate(streams):
            stream.take_answers()
            stream.answers.clear()
            if stream.waiting == 0:
                done[number] += 1
                stream.put(header.OPEN, shapes[number][done[number] % 2])
                stream.put(header.CLOSE)
                stream.channel.notify()
        time.sleep(0.0002)
    return sum(done)


def rates(scene: Scene) -> int:
    """A virtual device for each rate: the microphone that is not allowed is one."""
    streams = scene.card().connect(*paths(10))
    directories = [stream.share(4)[0] for stream in streams]
    count, rate = 0, 8000
    scene.begin()
    while scene.lasts:
        for directory, stream in zip(directories, streams, strict=True):
            stream.take_answers()
            stream.answers.clear()
            if stream.waiting == 0:
                count, rate = count + 1, 8000 + (rate + 97) % 184000
                stream.send(header.OPEN, header.open_body(directory, rate=rate))
        time.sleep(0.0002)
    return count


def microphones(scene: Scene) -> int:
    """Without leave: at the highest rate, with the shortest period there, and as many as may be."""
    streams = scene.card().connect(*paths(8))
    period_bytes = 768 * 8 * 4
    shape = {"rate": 768000, "sample_format": header.F64_LE, "channels": 4}
    shape |= {"buffer_bytes": 4 * period_bytes, "period_bytes": period_bytes}
    playing = [stream for stream in streams if is_opened(stream, stream.share(24)[0], **shape)]
    for stream in playing:
        stream.send(header.TRIGGER, header.TRIGGER_REQ.pack(header.START))
    events = 0
    scene.begin()
    while scene.lasts:
        time.sleep(0.02)
        events += sum(len(stream.take_events()) for stream in playing)
    return events


def wide(scene: Scene) -> int:
    """As many samples a second as one stream may have: the host's graph converts them."""
    (stream,) = scene.card().connect("0/0")
    shape = {"rate": 768000, "sample_format": header.F64_LE}
    directory, _ = stream.share(256)
    for channels in (64, 32, 16, 8):
        buffer_bytes = 2048 * 8 * channels
        shape |= {"channels": channels, "buffer_bytes": buffer_bytes}
        if is_opened(stream, directory, **shape, period_bytes=buffer_bytes // 2):
            break
    stream.send(header.TRIGGER, header.TRIGGER_REQ.pack(header.START))
    scene.begin()
    while scene.lasts:
        stream.take_answers()
        if stream.waiting < 4:
            stream.send(header.WRITE, header.RW_REQ.pack(0, buffer_bytes))
        time.sleep(0.001)
    return stream.answered


def short_periods(scene: Scene) -> int:
    """A thousand events a second on ten streams that play."""
    streams = scene.card().connect(*paths(10))
    players = [Player(stream, 48, 80, level=1) for stream in streams]
    scene.begin()
    while scene.lasts:
        time.sleep(0.01)
        for player in players:
            player.serve()
    return sum(player.events for player in players)


def polled(scene: Scene) -> int:
    """Says that it looks at the event pages by itself, and that it does not, and so on: each time
    captured frames are put into its buffers anew, unasked. It reads no event. How often some were
    put there is what it did."""
    card = scene.card()
    card.store.write(f"{card.path}/feature-position-ext", "1")
    streams = card.connect(*paths(10))
    for stream in streams:
        opened(stream)
        stream.send(header.TRIGGER, header.TRIGGER_REQ.pack(header.START))
    turn, fills, before = 0, 0, [0] * len(streams)
    scene.begin()
    while scene.lasts:
        turn += 1
        for number, stream in enumerate(streams):
            stream.event_words[header.POLLED] = turn % 2 * turn
            filled = stream.event_words[header.FILLED]
            fills += filled != before[number]
            before[number] = filled
        time.sleep(0.0002)
    return fills


# --- XenStore -------------------------------------------------------------------------------------


def write_states(scene: Scene, *states: str, junk: bool) -> int:
    card = scene.card()
    card.connect("0/0", "0/1")
    if junk:
        with contextlib.suppress(XenStoreError):
            for number in range(MOST_NODES):
                card.store.write(f"{card.path}/0/{3 + number % 10}/junk{number}", "x")
    count = 0
    scene.begin()
    while scene.lasts:
        card.write_state(states[count % len(states)])
        count += 1
    return count


def state_connected(scene: Scene) -> int:
    return write_states(scene, "4", junk=True)


def state_flapping(scene: Scene) -> int:
    return write_states(scene, "1", "3", "4", "5", "6", junk=False)


def state_garbage(scene: Scene) -> int:
    return write_states(scene, "x", "\x1b[31m\u202e", "4" * 1000, "-1", junk=False)


def reconnecting(scene: Scene) -> int:
    """Connects and leaves, the whole handshake each time, as soon as the backend is ready."""
    card, count = scene.card(), 0
    card.connect(*paths(32))
    scene.begin()
    while scene.lasts:
        card.write_state("1")
        if card.wait_backend("2", limit_sec=0.2):
            card.write_state("3")
            card.wait_backend("4", limit_sec=0.2)
            card.write_state("4")
            count += 1
    return count


def hidden(scene: Scene) -> int:
    """Takes the backend's right to read its nodes away, and gives it back."""
    card, count = scene.card(), 0
    card.connect("0/0", "0/1")
    scene.begin()
    while scene.lasts:
        for perms in (f"n{scene.domid}",), (f"n{scene.domid}", "r0"):
            card.store.set_perms(f"{card.path}/state", perms)
            card.store.set_perms(card.path, perms)
        card.write_state("134"[count % 3])
        count += 1
    return count


def escapes(scene: Scene) -> int:
    """Terminal sequences where numbers belong."""
    card, count = scene.card(), 0
    card.wait_backend("2")
    card.publish("0/0", "0/1")
    scene.begin()
    while scene.lasts:
        card.store.write(f"{card.path}/0/0/ring-ref", f"\x1b]0;{count}\x07\u202e\r\n")
        card.write_state("3" if count % 2 else "1")
        count += 1
    return count


# As many rates as fit into a node, and the same again for each stream.
RATES = ",".join(map(str, range(1, 1000)))
RATES_EACH = many(32, sample_rates=RATES) | {f"{path}/sample-rates": RATES for path in paths(32)}
ATTACKS: dict[str, Attack] = {
    "ring kept full of 256 KiB WRITEs": Attack(full_ring, ONE),
    "events without requests": Attack(empty_wake_ups, many(10)),
    "queries of 255 channels, 16 streams": Attack(queries, many(16)),
    "queries of 999 rates, 16 streams": Attack(queries, many(16, sample_rates=RATES)),
    "SET_VOLUME in a row": Attack(volumes, ONE),
    "START and STOP in turns": Attack(triggers, ONE),
    "refused OPENs": Attack(refused_opens, many(10)),
    "OPEN/CLOSE, 10 streams, two shapes": Attack(open_close, many(10)),
    "OPEN at ever other rates": Attack(rates, many(10, "c", sample_rates="8000,192000")),
    "microphones at 768 kHz without leave": Attack(
        microphones,
        many(8, "c", sample_rates="768000", sample_formats="float64_le", channels_max="64",
             buffer_size=str(1 << 20)),
    ),
    "most channels at 768 kHz": Attack(
        wide,
        many(1, sample_rates="768000", sample_formats="float64_le", channels_max="64",
             buffer_size=str(1 << 20)),
    ),
    "periods of 48 frames, 10 streams": Attack(short_periods, many(10)),
    "polling and not, 10 microphones": Attack(polled, many(10, "c")),
    "state 4 in a row, 976 nodes": Attack(state_connected),
    "state flapping": Attack(state_flapping),
    "state garbage": Attack(state_garbage),
    "reconnecting, 32 streams": Attack(reconnecting, many(32)),
    "reconnecting, 32 streams of 999 rates": Attack(reconnecting, RATES_EACH),
    "read permission taken away": Attack(hidden),
    "escapes in ring-ref": Attack(escapes),
}  # fmt: skip

# Guests, each with an attack of its own, at the same time.
TOGETHER: dict[str, tuple[str, ...]] = {
    "four guests at once: WRITEs, events, OPENs, states": (
        "ring kept full of 256 KiB WRITEs",
        "events without requests",
        "OPEN/CLOSE, 10 streams, two shapes",
        "state flapping",
    ),
    "three guests at once, all with full rings": ("ring kept full of 256 KiB WRITEs",) * 3,
}
ROWS = (*ATTACKS, *TOGETHER)


def attackers(row: str) -> tuple[str, ...]:
    """The attack of each guest that takes part."""
    return TOGETHER.get(row, (row,))
