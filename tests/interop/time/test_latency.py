"""`xen-pv-audio latency` on the simulated set-up, as a user runs it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")

from interop.alsa.bed import PLUGIN
from witness import runs_that_count

RUNS, MOST_RUNS = 3, 9
STALL_NSEC = 2_000_000


def latency(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xenpvaudio", "latency", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def figures(*options: str) -> dict[str, Any]:
    done = latency("--json", "--seconds", "6", *options)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["passed"] == (done.returncode == 0) == (found["failures"] == [])
    return found


@pytest.mark.parametrize("ppm", [100, -200])
def test_what_applications_are_told_is_true(ppm: int) -> None:
    """A wrong run during which the machine stalled, as another process saw it, says nothing."""
    output = f"--simulate=loopback,delay=40ms,gain=-6dB,ppm={ppm},quantum=256"

    def is_right(found: dict[str, Any]) -> bool:
        print(found["error_median_frames"], found["error_p99_frames"])
        return (
            abs(found["error_median_frames"]) <= 1
            and found["error_p99_frames"] <= 2
            and abs(found["play_clock_ppm"] - ppm) <= 20
            and found["found_share"] > 0.95
            and found["true_ms"] > 40
        )

    runs = runs_that_count(
        lambda: figures("--quantum", "512", output), is_right, RUNS, MOST_RUNS, STALL_NSEC
    )
    assert statistics.median(abs(run["error_median_frames"]) for run in runs) <= 1
    assert statistics.median(run["error_p99_frames"] for run in runs) <= 2
    assert statistics.median(run["play_clock_ppm"] for run in runs) == pytest.approx(ppm, abs=20)
    assert statistics.median(run["found_share"] for run in runs) > 0.95
    assert min(run["true_ms"] for run in runs) > 40


@pytest.mark.skipif(not PLUGIN.exists(), reason="built without libasound2-dev")
def test_what_an_alsa_program_is_told_is_true() -> None:
    output = "--simulate=loopback,delay=40ms,gain=-6dB,ppm=100,quantum=256"

    def is_right(found: dict[str, Any]) -> bool:
        print(found["error_median_frames"], found["error_p99_frames"], found["xruns"])
        return found["passed"] is True and found["xruns"] == 0

    (found,) = runs_that_count(
        lambda: figures("--guest", "alsa", "--seconds", "4", output),
        is_right,
        1,
        MOST_RUNS,
        STALL_NSEC,
    )
    assert (found["guest"], found["failures"]) == ("alsa", [])
    assert found["play_clock_ppm"] == pytest.approx(100, abs=20)
    assert found["true_ms"] > 40 + 3 * 1024 / 48  # the program's own buffer


@pytest.mark.parametrize(
    ("options", "named"),
    [(["--yes"], "--simulate"), (["--simulate", "--separate"], "--separate")],
    ids=["running", "separate"],
)
def test_an_alsa_guest_is_simulated_and_has_no_graph(options: list[str], named: str) -> None:
    done = latency("--guest", "alsa", *options)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert named in line


def test_the_path_of_the_loopback_is_part_of_the_round_trip() -> None:
    """In both runs the lead is the same, if the machine does not stall in one of them."""

    def longer_ms() -> list[float]:
        short, long = (
            figures("--quantum", "512", f"--simulate=loopback,delay={ms}ms,gain=-6dB,quantum=256")
            for ms in (10, 90)
        )
        return [long[figure] - short[figure] for figure in ("true_ms", "path_ms")]

    eighty = pytest.approx([80, 80], abs=1)
    (found,) = runs_that_count(
        longer_ms, lambda found: bool(found == eighty), 1, MOST_RUNS, STALL_NSEC
    )
    assert found == eighty


def test_a_picture_and_a_table_for_people(tmp_path: Path) -> None:
    picture = tmp_path / "latency.png"
    done = latency("--seconds", "4", "--simulate", "--plot", str(picture))
    assert done.returncode in (0, 1), done.stderr
    assert "round trip, true" in done.stdout
    assert ("PASS" in done.stdout) == (done.returncode == 0)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "status", "names"),
    [
        (["--simulate=null"], 2, "null"),
        (["--simulate", "--seconds", "1"], 2, "too short"),
        (["--seconds", "soon"], 2, "soon"),
    ],
)
def test_wrong_usage_is_one_line(options: list[str], status: int, names: str) -> None:
    done = latency(*options)
    assert done.returncode == status
    assert len(done.stderr.splitlines()) == 1 and names in done.stderr


def test_noise_on_a_running_system_needs_a_yes(tmp_path: Path) -> None:
    """Nobody can be asked here."""
    from xenpvaudio.testbed.session import PipeWireSession

    source = "{ factory.name=support.null-audio-sink node.name=silent media.class=Audio/Source"
    source += "/Virtual object.linger=true audio.position=[FL FR] }"
    with PipeWireSession(tmp_path, null_sink=True) as session:
        session.run(["pw-cli", "create-node", "adapter", source], stdout=subprocess.DEVNULL)
        done = session.run(
            [
                *(sys.executable, "-m", "xenpvaudio", "latency"),
                *("--sink", "null-loudspeaker", "--source", "silent"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "--yes" in done.stderr and len(done.stderr.splitlines()) == 1
