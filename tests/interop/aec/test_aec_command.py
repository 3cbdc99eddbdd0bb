"""`xen-pv-audio aec` with PipeWire's own canceller in a guest, as a user gives the orders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop.command import command
from interop.sound import eventually, noise, write_noise
from xenpvaudio.aec.configuration import RATE_HZ, SINK, SOURCE
from xenpvaudio.measure.duplex import published_delay_sec
from xenpvaudio.testbed.graph_dump import metadata, parse_dump
from xenpvaudio.testbed.testbed import GUEST_DOMID, Testbed, card_nodes, find_node
from xenpvaudio.testbed.testbed import SINK as CARD_SINK
from xenpvaudio.testbed.testbed import SOURCE as CARD_SOURCE
from xenpvaudio.xen.connect import SIM_VARIABLE

CANCELLER = Path("/usr/lib").glob("*/spa-0.2/aec/libspa-aec-webrtc.so")
pytestmark = pytest.mark.skipif(
    shutil.which("pipewire") is None or not any(CANCELLER), reason="no PipeWire with a canceller"
)

RATE = 48000


@pytest.fixture
def bed() -> Iterator[Testbed]:
    """The host's loudspeaker is heard by the microphone 40 ms later."""
    with Testbed(
        card_nodes(), backend_args=["--allow-microphone", "--output", "loopback,delay=40ms"]
    ) as made:
        made.wait_for_node(CARD_SINK)
        made.wait_for_node(CARD_SOURCE)
        yield made


def aec(bed: Testbed, *words: str, status: int = 0) -> str:
    return command(bed, GUEST_DOMID, "aec", *words, status=status)


def state(bed: Testbed, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(aec(bed, "status", "--json", status=status))
    return found


def defaults(bed: Testbed) -> list[str]:
    dump = subprocess.run(
        ["pw-dump"], env=bed.guest.env, capture_output=True, text=True, check=True
    )
    chosen = metadata(parse_dump(dump.stdout), "default") or {}
    keys = [f"default.configured.audio.{kind}" for kind in ("sink", "source")]
    return [str((chosen.get(key) or {}).get("name", "")) for key in keys]


def there(bed: Testbed) -> bool:
    return all(find_node(bed.guest, name) for name in (SINK, SOURCE))


def processes(bed: Testbed) -> list[int]:
    text = os.fspath(bed.directory / "xen" / "xen-pv-audio-aec-1.conf")
    done = subprocess.run(["pgrep", "-f", f"pipewire -c {text}"], capture_output=True, text=True)
    return [int(line) for line in done.stdout.split()]


def test_one_order_puts_it_before_the_card_and_another_takes_it_away(bed: Testbed) -> None:
    assert aec(bed, "status", status=1).strip() == "echo cancellation is off"
    choose = ["pw-metadata", "0", "default.configured.audio.sink", f'{{"name":"{CARD_SINK}"}}']
    bed.guest.run([*choose, "Spa:String:JSON"], stdout=subprocess.DEVNULL)
    before = defaults(bed)
    assert before == [CARD_SINK, ""]

    assert f"{SINK} and {SOURCE} before {CARD_SINK} and {CARD_SOURCE}" in aec(bed, "enable")
    assert there(bed) and defaults(bed) == [SINK, SOURCE]
    aec(bed, "enable")  # a second time changes nothing, also not what is given back
    assert len(processes(bed)) == 1

    assert aec(bed, "disable").strip() == "echo cancellation is off"
    eventually(lambda: not there(bed), "the nodes stay")
    assert defaults(bed) == before and not processes(bed)
    aec(bed, "disable")


def test_it_rests_until_used_and_is_told_the_delay_that_applications_are_told(
    bed: Testbed, tmp_path: Path
) -> None:
    aec(bed, "enable")
    eventually(
        lambda: (bed.node(CARD_SOURCE) or {}).get("xenpv.state") != "running",
        "the card never rests",
    )
    file = write_noise(tmp_path / "noise.wav", noise(RATE, 2) * 60, 2)
    with (
        bed.guest.popen(["pw-play", "--target", SINK, str(file)]) as player,
        bed.guest.popen(["pw-record", "--target", SOURCE, str(tmp_path / "r.wav")]) as recorder,
    ):
        try:
            eventually(lambda: _told_is_true(bed), "the canceller is told another delay")
        finally:
            player.kill()
            recorder.kill()
    assert bed.log("frontend").count("echo canceller: before") <= 3, bed.log("frontend")


def _told_is_true(bed: Testbed) -> bool:
    """Within the millisecond that it is not moved for."""
    told = [published_delay_sec(bed.guest.env, name) for name in (CARD_SINK, CARD_SOURCE)]
    if None in told:
        return False
    published = RATE_HZ * sum(delay or 0.0 for delay in told)
    return abs(state(bed)["play_delay_frames"] - published) <= RATE_HZ // 1000 + 1


def test_it_comes_back_with_its_process_and_with_the_frontend(bed: Testbed) -> None:
    aec(bed, "enable")
    (first,) = processes(bed)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: first not in processes(bed) and there(bed), "it does not come back")
    assert bed.frontend is not None
    bed.frontend.terminate()
    bed.frontend.wait()
    assert not processes(bed)
    bed.start_frontend()
    eventually(lambda: there(bed), "the next frontend does not know of it")
    assert bed.frontend is not None
    bed.frontend.kill()
    bed.frontend.wait()
    eventually(lambda: not processes(bed), "it outlives its frontend")


def test_a_session_manager_that_starts_anew_links_what_is_played_into_it(
    bed: Testbed, tmp_path: Path
) -> None:
    """WirePlumber before 0.5 does so with devices only that it has not found there."""
    aec(bed, "enable")
    eventually(lambda: there(bed), "it is not there")
    os.kill(bed.guest.pids()["wireplumber"], signal.SIGKILL)
    bed.guest.restart("wireplumber")
    file = write_noise(tmp_path / "noise.wav", noise(RATE, 2) * 60, 2)
    with bed.guest.popen(["pw-play", "--target", SINK, str(file)]) as player:
        try:
            eventually(
                lambda: (bed.node(CARD_SINK) or {}).get("xenpv.state") == "running",
                "nothing plays into the card",
            )
        finally:
            player.kill()


def test_without_a_frontend_it_says_what_to_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", "aec", "status"],
        env={**os.environ, SIM_VARIABLE: f"{tmp_path}:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3 and "no frontend runs here" in done.stderr
