"""The commands that a user gives in a guest without PipeWire: an answer, or one line that says what
there is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from interop.alsa.bed import PLUGIN, AlsaBed, alsa_bed
from interop.sound import LIMIT_SEC, eventually
from xenpvaudio.testbed.machine import GUEST_DOMID

pytestmark = pytest.mark.skipif(not PLUGIN.exists(), reason="built without libasound2-dev")


@pytest.fixture(scope="module")
def bed() -> Iterator[AlsaBed]:
    with alsa_bed() as made:
        yield made


def command(bed: AlsaBed, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xenpvaudio", *words],
        env=bed.env | bed.machine(GUEST_DOMID),
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SEC,
    )


def test_status_tells_of_a_stream_that_plays(bed: AlsaBed) -> None:
    with bed.popen("aplay", "-q", "-D", "xenpv", "-f", "dat", "/dev/zero") as playing:
        try:
            eventually(lambda: bed.streams().get("0/0") == "running", bed.log("frontend"))
            said = command(bed, "status").stdout
        finally:
            playing.kill()
    assert "without PipeWire, 1 card" in said
    assert "s16_le 48000 Hz x2" in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["aec", "status"], "serves ALSA programs"),
        (["aec", "disable"], "serves ALSA programs"),
        (["latency", "--yes"], "no PipeWire"),
        (["aec-check", "--yes"], "no PipeWire"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_what_needs_pipewire_says_so(bed: AlsaBed, words: list[str], line: str) -> None:
    done = command(bed, *words)
    assert (done.returncode, done.stdout) == (3, "")
    (said,) = done.stderr.splitlines()
    assert line in said
