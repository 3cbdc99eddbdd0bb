"""Who lists the card: what each mixer and desktop makes of the objects that it reads.

pactl and wpctl are run. The others need a desktop around them, and what they list follows from few
things; each function here says what that is, as it stands in the program's source. A card that
lacks one of them is not listed there, or is listed as no hardware.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pulsectl
import pytest

from interop.sound import eventually, run_client
from xenpvaudio.testbed.graph_dump import of_kind
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes, graph

CARD = "xenpv_card.0"
TITLE = "Xen PV Audio"
BOTH = {"Speaker - Xen PV Audio", "Microphone - Xen PV Audio"}
PROFILES = {"Off", "Output", "Input", "Duplex"}
HARDWARE = 0x4  # enum pa_sink_flags, pa_source_flags (pulse/def.h)


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed(card_nodes()) as made:
        made.wait_for_node(SINK)
        made.wait_for_node(SOURCE)
        yield made


@dataclass(frozen=True, slots=True)
class Pulse:
    """What PulseAudio's clients are told."""

    cards: list[Any]
    sinks: list[Any]
    sources: list[Any]
    """Without monitors."""

    @property
    def streams(self) -> list[Any]:
        return [*self.sinks, *self.sources]


def pulse(bed: Testbed) -> Pulse:
    with pulsectl.Pulse("test", server=bed.guest.env["PULSE_SERVER"]) as client:
        sources = [s for s in client.source_list() if s.monitor_of_sink_name is None]
        return Pulse(client.card_list(), client.sink_list(), sources)


def description(card: Any) -> str:
    return str(card.proplist["device.description"])


def pactl(bed: Testbed) -> set[str]:
    """Everything by its name."""
    lists = (run_client(bed.guest, "pactl", "list", "short", f"{k}s") for k in ("card", "sink"))
    sources = run_client(bed.guest, "pactl", "list", "short", "sources")
    lines = [line for text in (*lists, sources) for line in text.splitlines()]
    return {name for line in lines if ".monitor" not in (name := line.split("\t")[1])}


def wpctl(bed: Testbed) -> set[str]:
    """Sections of the sound's part, and what is in them; the default ones have a star."""
    sound = run_client(bed.guest, "wpctl", "status").partition("Audio\n")[2].partition("Video")[0]
    found, section = set(), ""
    for line in sound.splitlines():
        if heading := re.search(r"─ (\w+):", line):
            section = heading[1]
        elif item := re.search(r"(\*?) +\d+\. (.+?) +\[", line):
            found.add(f"{section}: {item[1]}{item[2]}")
    return found


def pavucontrol(bed: Testbed) -> set[str]:
    """mainwindow.cc. Configuration: each card with its profiles. Output and Input Devices: what has
    PulseAudio's flag for hardware, unless "All" is chosen, with its ports."""
    told = pulse(bed)
    found = {
        f"{description(card)}: {profile.description}"
        for card in told.cards
        for profile in card.profile_list
    }
    hardware = [stream for stream in told.streams if stream.flags & HARDWARE]
    return found | {f"{s.description}: {p.description}" for s in hardware for p in s.port_list}


def gnome(bed: Testbed) -> set[str]:
    """libgnome-volume-control, gvc-mixer-control.c: a device is a port of a card that may be there,
    with the card's profiles that the port has, and a stream of that card at that port."""
    told = pulse(bed)
    return {
        f"{port.description} - {description(card)}"
        for card in told.cards
        for port in card.port_list
        if port.available_state != "no"
        and {p.name for p in port.profile_list} & {p.name for p in card.profile_list}
        and any(at(stream, card, port) for stream in told.streams)
    }


def at(stream: Any, card: Any, port: Any) -> bool:
    active = stream.port_active
    return stream.card == card.index and active is not None and active.name == port.name


def elementary(bed: Testbed) -> set[str]:
    """PulseAudioManager.vala of its sound settings: ports as GNOME's; it takes for granted that
    each has a profile, and each sink and source an active port."""
    told = pulse(bed)
    assert all(stream.port_active is not None for stream in told.streams)
    ports = [(card, port) for card in told.cards for port in card.port_list]
    assert all(port.profile_list for _, port in ports)
    there = [pair for pair in ports if pair[1].available_state != "no"]
    return {
        f"{port.description} - {description(card)}"
        for card, port in there
        if any(at(stream, card, port) for stream in told.streams)
    }


def cosmic(bed: Testbed) -> set[str]:
    """subscriptions/sound and crates/cosmic-pipewire of cosmic-settings, by PipeWire itself: nodes
    with the numbers of a device and of a route in its active profile; the device's profiles."""
    objects = graph(bed.guest)
    devices = {d["info"]["props"]["object.id"]: d["info"] for d in of_kind(objects, "Device")}
    found = set()
    for device in devices.values():
        assert [profile["index"] for profile in device["params"]["Profile"]]
        profiles = [p for p in device["params"]["EnumProfile"] if p["available"] != "no"]
        title = device["props"]["device.description"]
        found |= {f"{title}: {profile['description']}" for profile in profiles}
    for node in of_kind(objects, "Node"):
        props = node["info"]["props"]
        device = devices.get(props.get("device.id"))
        if props.get("media.class") not in ("Audio/Sink", "Audio/Source") or device is None:
            continue
        for route in device["params"]["EnumRoute"]:
            if props["card.profile.device"] in route["devices"] and route["available"] != "no":
                title = device["props"]["device.description"]
                found.add(f"{route['description']} - {title}")
    return found


CONFIGURATION = {f"{TITLE}: {profile}" for profile in PROFILES}
TABLE: list[tuple[Callable[[Testbed], set[str]], set[str], set[str]]] = [
    (pactl, {CARD, SINK, SOURCE}, {CARD, SINK, SOURCE}),
    (
        wpctl,
        {f"Devices: {TITLE}", f"Sinks: *{TITLE}", f"Sources: *{TITLE}"},
        {f"Devices: {TITLE}", f"Sinks: *{TITLE}", f"Sources: {TITLE}"},
    ),
    (
        pavucontrol,
        CONFIGURATION | {f"{TITLE}: Speaker", f"{TITLE}: Microphone"},
        CONFIGURATION | {f"{TITLE}: Speaker", f"{TITLE}: Microphone"},
    ),
    (gnome, BOTH, BOTH - {"Microphone - Xen PV Audio"}),
    (elementary, BOTH, BOTH - {"Microphone - Xen PV Audio"}),
    (cosmic, CONFIGURATION | BOTH, CONFIGURATION | BOTH - {"Microphone - Xen PV Audio"}),
]


@pytest.mark.parametrize(
    ("reader", "given", "taken"), TABLE, ids=[reader.__name__ for reader, _, _ in TABLE]
)
def test_the_card_is_listed_with_what_can_be_used_of_it(
    bed: Testbed, reader: Callable[[Testbed], set[str]], given: set[str], taken: set[str]
) -> None:
    for word, wanted in (("allow", given), ("deny", taken)):
        microphone(bed, word)
        with suppress(AssertionError):  # the one below says more
            eventually(lambda wanted=wanted: reader(bed) == wanted, word)
        assert reader(bed) == wanted


def microphone(bed: Testbed, word: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", "mic", word, "all"],
        env=bed.environ(0),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
