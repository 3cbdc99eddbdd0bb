"""A guest's stream in the host's mixer, as pavucontrol sets it: what is told of it is how it is,
also where an order says otherwise."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulsectl
import pytest

from interop.sound import RATE, eventually, noise, write_noise
from xenpvaudio.testbed.testbed import SINK, Testbed, card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

GUEST = "demo-guest"


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Testbed]:
    """An application plays all the time."""
    file = write_noise(tmp_path / "long.wav", noise(RATE, 2) * 120, 2)
    with Testbed(card_nodes()) as made:
        made.wait_for_node()
        made.guest.popen(["pw-play", "--target", SINK, str(file)])  # ends with the session
        eventually(lambda: sounds(made), "no sound")
        yield made


def sounds(bed: Testbed) -> bool:
    assert bed.loudspeaker is not None
    first = bed.loudspeaker.frames
    time.sleep(0.2)
    return any(bed.loudspeaker.data(first))


def order(bed: Testbed, *arguments: str) -> str:
    assert bed.host is not None
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", *arguments],
        env={**bed.host.env, SIM_VARIABLE: f"{bed.directory / 'xen'}:0", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def stream(bed: Testbed) -> dict[str, Any]:
    (half,) = json.loads(order(bed, "status", "--json"))
    return dict(half["cards"][0]["streams"][0])


def mixer(bed: Testbed, *, mute: bool | None = None, volume: float | None = None) -> None:
    """What a person does to the guest's stream in pavucontrol."""
    assert bed.host is not None
    with pulsectl.Pulse("test", server=bed.host.env["PULSE_SERVER"]) as pulse:
        (found,) = [
            each
            for each in pulse.sink_input_list()
            if each.proplist.get("application.name") == GUEST
        ]
        if mute is not None:
            pulse.mute(found, mute)
        if volume is not None:
            pulse.volume_set_all_chans(found, volume)


def test_what_is_muted_by_hand_is_told_and_an_order_lifts_it(bed: Testbed) -> None:
    assert stream(bed)["muted_on_host"] is False
    mixer(bed, mute=True)
    eventually(lambda: stream(bed)["muted_on_host"], "it is not told")
    assert "muted on the host" in order(bed, "status")
    assert not sounds(bed)
    assert order(bed, "unmute", GUEST) == (
        f"{GUEST}: no longer muted, until the backend is restarted\n"
    )
    assert stream(bed)["muted_on_host"] is False
    eventually(lambda: sounds(bed), "it is still muted")


def test_what_is_unmuted_by_hand_is_told_and_an_order_holds_again(bed: Testbed) -> None:
    assert order(bed, "mute", GUEST) == f"{GUEST}: muted, until the backend is restarted\n"
    assert stream(bed)["muted_on_host"] is True
    eventually(lambda: not sounds(bed), "it is still heard")
    mixer(bed, mute=False)
    eventually(lambda: stream(bed)["muted_on_host"] is False, "it is not told")
    eventually(lambda: sounds(bed), "it is still muted")
    text = " ".join(order(bed, "status").split())
    assert "; muted, but 0/0 is heard: unmuted on the host" in text
    assert order(bed, "mute", GUEST) == f"{GUEST}: muted, until the backend is restarted\n"
    assert stream(bed)["muted_on_host"] is True
    eventually(lambda: not sounds(bed), "it is still heard")


def test_the_volume_that_was_set_by_hand_is_told(bed: Testbed) -> None:
    """PulseAudio's 50 % are an eighth of the amplitude."""
    mixer(bed, volume=0.5)
    eventually(
        lambda: stream(bed)["volume_db"] == [pytest.approx(-18.06, abs=0.01)] * 2, "it is not told"
    )
    assert "-18.1 dB" in order(bed, "status")
