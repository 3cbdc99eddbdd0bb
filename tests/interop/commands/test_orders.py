"""mic and mute while the guest records and plays: heard at the loudspeaker and in the recording."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.command import command
from interop.sound import MICROPHONE, RATE, Recording, eventually, noise, write_noise
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes, find_node

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

GUEST = "demo-guest"
PLAYBACK, CAPTURE = "xenpv.demo-guest.vsnd/0.0/0", "xenpv.demo-guest.vsnd/0.0/1"


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed(card_nodes(), backend_args=[], host_fragments=[MICROPHONE]) as made:
        made.wait_for_node(SOURCE)
        yield made


def order(bed: Testbed, *arguments: str, status: int = 0) -> str:
    return command(bed, 0, *arguments, status=status)


def backend_connected(bed: Testbed) -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", "status"],
        env=bed.environ(0),
        capture_output=True,
        text=True,
        check=False,
    )
    return "connected" in done.stdout


def sound_since(bed: Testbed, first: int) -> bool:
    assert bed.loudspeaker is not None
    return any(bed.loudspeaker.data(first))


def sounds(bed: Testbed) -> bool:
    assert bed.loudspeaker is not None
    first = bed.loudspeaker.frames
    time.sleep(0.2)
    return sound_since(bed, first)


def test_a_guest_is_silenced_and_heard_again_while_it_plays(bed: Testbed, tmp_path: Path) -> None:
    file = write_noise(tmp_path / "long.wav", noise(RATE, 2) * 60, 2)
    with bed.guest.popen(["pw-play", "--target", SINK, str(file)]) as player:
        eventually(lambda: sounds(bed), "no sound")
        assert order(bed, "mute", GUEST).startswith(f"{GUEST}: muted, until the backend")
        eventually(lambda: not sounds(bed), "still heard")
        assert "; muted" in order(bed, "status")
        assert order(bed, "unmute", "all").startswith(f"{GUEST}: no longer muted")
        eventually(lambda: sounds(bed), "not heard again")
        player.kill()


def test_what_opens_while_the_guest_is_silenced_is_silent(bed: Testbed, tmp_path: Path) -> None:
    file = write_noise(tmp_path / "long.wav", noise(RATE, 2) * 60, 2)
    order(bed, "mute", GUEST)
    assert bed.loudspeaker is not None
    first = bed.loudspeaker.frames
    with bed.guest.popen(["pw-play", "--target", SINK, str(file)]) as player:
        host = bed.host
        assert host is not None
        eventually(lambda: find_node(host, PLAYBACK), "no host stream")
        time.sleep(1)
        assert not sound_since(bed, first)
        order(bed, "unmute", GUEST)
        eventually(lambda: sounds(bed), "not heard again")
        player.kill()


def test_the_microphone_comes_and_goes_while_the_guest_records(
    bed: Testbed, tmp_path: Path
) -> None:
    """Noise into the host's microphone all the time; what is recorded begins with silence, has
    noise in the middle, and ends with silence."""
    host = bed.host
    assert host is not None
    file = write_noise(tmp_path / "noise.wav", noise(RATE, 2) * 90, 2)
    with host.popen(["pw-play", "--target", "0", str(file)]) as speaker:
        try:
            gives_and_takes(bed, tmp_path)
        finally:
            speaker.kill()


def gives_and_takes(bed: Testbed, tmp_path: Path) -> None:
    host = bed.host
    assert host is not None
    for side in ("FL", "FR"):
        link = ["pw-link", f"pw-play:output_{side}", "microphone:input_" + side]
        eventually(
            lambda link=link: (
                host.run(link, check=False, stderr=subprocess.DEVNULL).returncode == 0
            ),
            "nobody speaks",
        )
    recording = Recording(bed.guest, SOURCE, tmp_path / "r.wav")
    eventually(
        lambda: (bed.node(SOURCE) or {}).get("xenpv.state") == "running", "the source does not run"
    )
    time.sleep(1)
    assert find_node(host, CAPTURE) is None
    assert "denied by the policy, records silence now" in order(bed, "mic", "list")

    assert order(bed, "mic", "allow", GUEST).startswith(f"{GUEST}: microphone allowed")
    eventually(lambda: find_node(host, CAPTURE), "the host does not show who listens")
    time.sleep(2)
    (told,) = json.loads(order(bed, "mic", "list", "--json"))
    assert (told["microphone"], told["records"], told["by"]) == (True, True, "by an order")

    order(bed, "mic", "deny", GUEST)
    eventually(lambda: find_node(host, CAPTURE) is None, "the host still listens")
    time.sleep(1.5)
    samples = recording.stop()
    sounding = [place for place in range(0, len(samples), 2) if samples[place]]
    assert sounding, "nothing was recorded with leave"
    first, last = sounding[0] / 2 / RATE, sounding[-1] / 2 / RATE
    total = len(samples) / 2 / RATE
    assert first > 0.5 and last < total - 0.5, (
        f"sound from {first:.2f} to {last:.2f} of {total:.2f}"
    )
    part = array("f", samples[sounding[0] : sounding[-1]])
    assert sum(map(bool, part)) > 0.8 * len(part), "the sound has holes"
    lines = [line for line in bed.log("backend").splitlines() if "microphone allowed" in line]
    assert len(lines) == 1 and f"{GUEST}: microphone allowed, ordered by user" in lines[0]
    assert "xruns" not in (bed.node(SOURCE) or {}).get("xenpv.state", "")


def test_a_lasting_order_holds_for_the_next_backend(bed: Testbed) -> None:
    assert ", from now on" in order(bed, "mic", "allow", GUEST, "--always")
    assert bed.backend is not None
    bed.backend.terminate()
    bed.backend.wait()
    bed.start_backend()
    eventually(lambda: backend_connected(bed), "the backend does not come back")
    assert "allowed by a lasting order" in order(bed, "mic", "list")
    order(bed, "mic", "deny", GUEST, "--always")
    assert "denied by a lasting order" in order(bed, "mic", "list")


def test_an_unknown_guest_is_an_error_that_names_those_there_are(bed: Testbed) -> None:
    assert 'no guest "nobody" has a card here; there are demo-guest' in order(
        bed, "mic", "allow", "nobody", status=2
    )
    assert order(bed, "mute", "1").startswith(f"{GUEST}: muted")
    order(bed, "unmute", "1")
