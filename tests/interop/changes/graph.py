"""Changes of the graph itself: links, who drives it, devices that are suspended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from subprocess import DEVNULL, PIPE

from interop.changes.change import change
from interop.changes.clients import native_play, native_record, running, start
from interop.changes.place import DEVICES, QUANTUM_FRAMES, RATE, Place, link
from interop.sound import LIMIT_SEC
from xenpvaudio.testbed.testbed import graph


def links(place: Place, pairs: Sequence[tuple[str, str]]) -> None:
    for out, into in pairs:
        link(place.guest, out, into)


def cut(place: Place, pairs: Sequence[tuple[str, str]]) -> None:
    for out, into in pairs:
        place.guest.run(["pw-link", "-d", out, into], check=False, capture_output=True)


@change("links made and cut")
@contextmanager
def _links(place: Place) -> Iterator[None]:
    """A recorder and a player that nothing links by itself; then by hand, and cut again."""
    with ExitStack() as stack:
        pairs = []
        for number, device in enumerate(DEVICES):
            names = [f"{way}-{number}" for way in ("taker", "giver")]
            props = "{ node.name = %s node.autoconnect = false }"
            file = str(place.folder / f"taker-{number}.wav")
            taker = ["pw-record", "--target", "0", "--latency", "256", "-P", props % names[0], file]
            giver = ["pw-play", "--target", "0", "--latency", "512", "-P", props % names[1]]
            giver.append(str(place.silence[RATE]))
            stack.enter_context(running([start(place, {}, *taker), start(place, {}, *giver)]))
            for channel in ("FL", "FR"):
                pairs.append((device.out(channel), f"{names[0]}:input_{channel}"))
                pairs.append((f"{names[1]}:output_{channel}", device.into(channel)))
        links(place, pairs)
        yield
        cut(place, pairs)


_BOSS = (
    "create-node adapter {{ factory.name=support.null-audio-sink node.name={name}"
    " media.class=Audio/Sink audio.channels=2 audio.position=[FL FR]"
    " priority.driver=30000 priority.session=1 }}\n"
)


@change("another driver, by a link", hold_sec=3.0, rest_sec=3.0)
@contextmanager
def _another_driver(place: Place) -> Iterator[None]:
    """A device that outranks ours is linked to what we record and play: it drives, we follow."""
    names = ["boss-0", "boss-1"]
    with place.guest.popen(["pw-cli"], stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL) as keeper:
        assert keeper.stdin is not None
        keeper.stdin.write("".join(_BOSS.format(name=name) for name in names).encode())
        keeper.stdin.flush()
        pairs = []
        for name, device in zip(names, DEVICES, strict=True):
            pairs.append((device.out("FR"), f"{name}:playback_FR"))
            pairs.append((f"{name}:monitor_FL", device.into("FR")))
        try:
            links(place, pairs)
            yield
        finally:
            keeper.kill()


def _node_ids(place: Place, name: str) -> list[str]:
    return [
        str(thing["id"])
        for thing in graph(place.guest)
        if (thing.get("info") or {}).get("props", {}).get("node.name") == name
        and str(thing["type"]).endswith(":Node")
    ]


@change("suspended and resumed", rest_sec=1.5, own_is_heard=False)
@contextmanager
def _suspended(place: Place) -> Iterator[None]:
    """As `pactl suspend-sink` does it, with everybody linked, at all devices at once. They may
    stand still until somebody comes or goes; so somebody does, at each device. The monitor of
    0.3.65's null sink is silent from then on, until its graph is built anew."""
    numbers = [
        number
        for device in DEVICES
        for name in {device.sink, device.source}
        for number in _node_ids(place, name)
    ]
    orders = [start(place, {}, "pw-cli", "send-command", n, "Suspend", "{}") for n in numbers]
    for order in orders:
        assert order.wait(LIMIT_SEC) == 0, "pw-cli cannot suspend a node"
    clients = [native_record(place, device, QUANTUM_FRAMES) for device in DEVICES]
    clients += [native_play(place, device, QUANTUM_FRAMES) for device in DEVICES]
    with running(clients):
        yield
