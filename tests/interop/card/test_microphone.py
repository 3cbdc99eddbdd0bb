"""The microphone is plugged in and out by the host's user, while the guest records, too: seen by
what programs ask, PulseAudio's list of cards and who is linked to whom."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.sound import MICROPHONE, Recording, eventually, run_client
from xenpvaudio.testbed.graph_dump import metadata, named_node, of_kind
from xenpvaudio.testbed.testbed import GUEST_DOMID, SINK, SOURCE, Testbed, card_nodes, graph
from xenpvaudio.xen.connect import SIM_VARIABLE

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

GUEST = "demo-guest"
SILENT = "silent: the host gives no microphone"
YES, NO, UNKNOWN = "available", "not available", "availability unknown"


@pytest.fixture
def bed() -> Iterator[Testbed]:
    """The guest has no leave, and a microphone of another kind."""
    with Testbed(
        card_nodes(),
        backend_args=[],
        host_fragments=[MICROPHONE],
        guest_fragments=[MICROPHONE.replace("microphone", "other-microphone")],
    ) as made:
        made.wait_for_node(SOURCE)
        yield made


def asked(bed: Testbed, domid: int, *arguments: str) -> str:
    """What a command says on the host (0) or in the guest."""
    session = bed.guest if domid else bed.host
    assert session is not None
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", *arguments],
        env={**session.env, SIM_VARIABLE: f"{bed.directory / 'xen'}:{domid}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def port(bed: Testbed, name: str = "microphone") -> str:
    """Its availability, as `pactl list cards` has it."""
    listed = run_client(bed.guest, "pactl", "list", "cards")
    (found,) = re.findall(rf"^\s*{name}: .*, ([^,]*)\)$", listed, re.M)
    return str(found)


def recorded_from(bed: Testbed) -> str:
    """The node that pw-record is linked to."""
    things = graph(bed.guest)
    recorder = named_node(things, "pw-record")
    for link in of_kind(things, "Link"):
        if recorder and link["info"]["input-node-id"] == recorder["id"]:
            for node in of_kind(things, "Node"):
                if node["id"] == link["info"]["output-node-id"]:
                    return str(node["info"]["props"]["node.name"])
    return ""


def capture(bed: Testbed) -> dict[str, Any]:
    (half,) = json.loads(asked(bed, GUEST_DOMID, "status", "--json"))
    return dict(half["cards"][0]["streams"][1])


def test_leave_is_given_and_taken_while_a_program_records(bed: Testbed, tmp_path: Path) -> None:
    eventually(lambda: port(bed) == NO, "it is there without leave")
    assert port(bed, "speaker") == YES
    recording = Recording(bed.guest, SOURCE, tmp_path / "r.wav")
    eventually(lambda: capture(bed)["state"] == "running", "nobody records")
    assert SILENT in asked(bed, GUEST_DOMID, "status")
    assert "microphone denied" in asked(bed, 0, "status")

    asked(bed, 0, "mic", "allow", GUEST)
    eventually(lambda: port(bed) == YES, "it does not appear")
    assert recorded_from(bed) == SOURCE
    assert SILENT not in asked(bed, GUEST_DOMID, "status")

    asked(bed, 0, "mic", "deny", GUEST)
    eventually(lambda: port(bed) == NO, "it does not disappear")
    # WirePlumber (0.4 a moment later than 0.5) moves programs even from a microphone they chose
    eventually(
        lambda: (capture(bed)["state"] == "running") is (recorded_from(bed) == SOURCE),
        "it runs for nobody, or not for its recorder",
    )
    first = len(recording.stop())
    assert first > 0
    assert capture(bed)["microphone"] == "denied"


def test_a_program_that_chose_no_microphone_moves_as_with_usb(bed: Testbed, tmp_path: Path) -> None:
    """Without a sink, whose monitor is another choice that a session manager has."""
    run_client(bed.guest, "pactl", "set-card-profile", "xenpv_card.0", "input:capture")
    eventually(lambda: port(bed) == NO, "it is there without leave")
    command = ["pw-record", str(tmp_path / "r.wav")]
    with bed.guest.popen(command, stderr=subprocess.DEVNULL) as recorder:
        try:
            eventually(lambda: recorded_from(bed) == "other-microphone", "it records from nothing")
            asked(bed, 0, "mic", "allow", GUEST)
            eventually(lambda: recorded_from(bed) == SOURCE, "it does not move to what appeared")
            asked(bed, 0, "mic", "deny", GUEST)
            eventually(lambda: recorded_from(bed) == "other-microphone", "it stays with silence")
        finally:
            recorder.kill()


def test_the_card_comes_before_one_that_the_machine_emulates_as_long_as_it_can_record() -> None:
    """Both of its nodes, so that they have one clock. Without leave the other's microphone is the
    default, and not what our sink plays."""
    other = real_card("other-sink", 1009, "Audio/Sink"), real_card("other-mic", 2009)
    with Testbed(card_nodes(), guest_fragments=other) as made:
        made.wait_for_node(SINK)
        made.wait_for_node(SOURCE)
        eventually(lambda: port(made) == YES, "no microphone")
        eventually(lambda: defaults(made) == (SINK, SOURCE), "the other card is the default")
        asked(made, 0, "mic", "deny", GUEST)
        eventually(lambda: defaults(made) == (SINK, "other-mic"), "not the other microphone")
        asked(made, 0, "mic", "allow", GUEST)
        eventually(lambda: defaults(made) == (SINK, SOURCE), "it does not come back")


def real_card(name: str, priority: int, media_class: str = "Audio/Source/Virtual") -> str:
    """A node with the priority that WirePlumber gives an ALSA card's."""
    return (
        MICROPHONE.replace("node.name = microphone", f"node.name = {name}")
        .replace("Audio/Source/Virtual", media_class)
        .replace("object.linger", f"priority.session = {priority} object.linger")
    )


def defaults(bed: Testbed) -> tuple[str, str]:
    found = metadata(graph(bed.guest), "default") or {}
    names = (found.get(f"default.audio.{kind}") or {} for kind in ("sink", "source"))
    sink, source = (str(value.get("name", "")) for value in names)
    return sink, source


def test_what_was_told_holds_for_a_backend_that_starts_anew(bed: Testbed) -> None:
    asked(bed, 0, "mic", "allow", GUEST, "--always")
    eventually(lambda: port(bed) == YES, "it does not appear")
    assert bed.backend is not None
    bed.backend.terminate()
    bed.backend.wait()
    bed.start_backend()
    eventually(lambda: "connected" in asked(bed, GUEST_DOMID, "status"), "it does not come back")
    asked_again = time.monotonic()
    while time.monotonic() < asked_again + 1.5:  # as long as a change may be held back
        assert port(bed) == YES
    asked(bed, 0, "mic", "deny", GUEST, "--always")
    eventually(lambda: port(bed) == NO, "it does not disappear")


def test_a_silent_microphone_may_be_kept() -> None:
    with Testbed(card_nodes(), backend_args=[], frontend_args=["--keep-silent-microphone"]) as made:
        made.wait_for_node(SOURCE)
        eventually(lambda: SILENT in asked(made, GUEST_DOMID, "status"), "it is not known")
        assert port(made) == UNKNOWN
        asked(made, 0, "mic", "allow", GUEST)
        eventually(lambda: SILENT not in asked(made, GUEST_DOMID, "status"), "it is not known")
        assert port(made) == UNKNOWN


def test_a_microphone_that_is_asked_for_at_its_use_can_be_used(tmp_path: Path) -> None:
    policy = tmp_path / "backend.toml"
    policy.write_text('[default]\nmicrophone = "ask"\n')
    with Testbed(card_nodes(), backend_args=["--policy", str(policy)]) as made:
        made.wait_for_node(SOURCE)
        eventually(lambda: port(made) == YES, "nobody could ask for it")
        asked(made, 0, "mic", "deny", GUEST)
        eventually(lambda: port(made) == NO, "it does not disappear")
