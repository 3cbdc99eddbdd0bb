"""The policy file changes while guests play and record: what it says holds at once, and only what
has changed is touched."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.sound import RATE, Recording, eventually, noise, write_noise
from xenpvaudio.backend.host_user.file_watch import SETTLE_SEC
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes, find_node

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

PLAYBACK, CAPTURE = "xenpv.demo-guest.vsnd/0.0/0", "xenpv.demo-guest.vsnd/0.0/1"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "backend.toml"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def bed(policy: Path) -> Iterator[Testbed]:
    """One application plays, another one records."""
    file = write_noise(policy.with_name("long.wav"), noise(RATE, 2) * 120, 2)
    with Testbed(card_nodes(), backend_args=["--policy", str(policy)]) as bed:
        bed.wait_for_node(SOURCE)
        recording = Recording(bed.guest, SOURCE, policy.with_name("r.wav"))
        with bed.guest.popen(["pw-play", "--target", SINK, str(file)]) as player:
            host = bed.host
            assert host is not None
            eventually(lambda: find_node(host, PLAYBACK), "nothing plays")
            eventually(
                lambda: (bed.node(SOURCE) or {}).get("xenpv.state") == "running", "no recording"
            )
            yield bed
            player.kill()
        recording.stop()


def serial(bed: Testbed, name: str) -> str | None:
    assert bed.host is not None
    return (find_node(bed.host, name) or {}).get("object.serial")


def heard(bed: Testbed) -> bool:
    assert bed.loudspeaker is not None
    first = bed.loudspeaker.frames
    time.sleep(0.2)
    return any(bed.loudspeaker.data(first))


def test_the_microphone_is_given_and_the_stream_that_plays_is_not_touched(
    bed: Testbed, policy: Path
) -> None:
    before = serial(bed, PLAYBACK)
    assert before is not None and serial(bed, CAPTURE) is None
    policy.write_text("[domain.demo-guest]\nmicrophone = true\n")
    eventually(lambda: serial(bed, CAPTURE), "the microphone is not given")
    listens = serial(bed, CAPTURE)
    policy.write_text("[domain.demo-guest]\nmicrophone = true\nmuted = true\n")
    eventually(lambda: not heard(bed), "still heard")
    assert serial(bed, PLAYBACK) == before
    assert serial(bed, CAPTURE) == listens
    policy.write_text("[domain.other]\nmicrophone = true\n")
    eventually(lambda: serial(bed, CAPTURE) is None, "the microphone is not taken away")
    eventually(lambda: heard(bed), "not heard again")
    assert serial(bed, PLAYBACK) == before


@pytest.mark.parametrize("text", ["[domain.demo-guest]\nmicrofone = true\n", "microphone =", None])
def test_a_wrong_file_changes_nothing_and_is_one_line(
    text: str | None, bed: Testbed, policy: Path
) -> None:
    good = "[domain.demo-guest]\nmicrophone = true\n"
    policy.write_text(good)
    eventually(lambda: serial(bed, CAPTURE), "the microphone is not given")
    listens, lines = serial(bed, CAPTURE), bed.log("backend").count("still holds")
    if text is None:
        policy.unlink()
    else:
        policy.write_text(text)
    eventually(lambda: bed.log("backend").count("still holds") > lines, "nobody is told")
    time.sleep(10 * SETTLE_SEC)
    assert bed.log("backend").count("still holds") == lines + 1
    assert str(policy) in bed.log("backend").splitlines()[-1]
    assert serial(bed, CAPTURE) == listens
    policy.write_text("")
    eventually(lambda: serial(bed, CAPTURE) is None, "it is not read again")


def test_another_output_is_taken_while_the_guest_plays(bed: Testbed, policy: Path) -> None:
    policy.write_text('[default]\noutput = "null"\n')
    eventually(lambda: serial(bed, PLAYBACK) is None, "it still plays to PipeWire")
    assert (bed.node() or {}).get("xenpv.state") == "running"
    policy.write_text("")
    eventually(lambda: heard(bed), "not heard again")
