"""status in a guest and on its host, while an application plays: the halves' own words."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from interop.sound import eventually, noise, write_noise
from xenpvaudio.testbed.testbed import GUEST_DOMID, SINK, Testbed, card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

RATE = 48000


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """One application plays all the time."""
    file = write_noise(tmp_path_factory.mktemp("status") / "long.wav", noise(RATE, 2) * 120, 2)
    with Testbed(card_nodes()) as bed:
        bed.wait_for_node()
        with bed.guest.popen(["pw-play", "--target", SINK, str(file)]) as player:
            eventually(
                lambda: (bed.node() or {}).get("xenpv.state") == "running", "the sink does not run"
            )
            yield bed
            player.kill()


def status(bed: Testbed, domid: int, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", "status", *arguments],
        env={**bed.environ(domid), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def card(bed: Testbed, domid: int) -> dict[str, Any]:
    (half,) = json.loads(status(bed, domid, "--json"))
    assert half["domain"] == domid
    assert half["half"] == ("frontend" if domid else "backend")
    assert half["pipewire"] is True
    (found,) = half["cards"]
    return dict(found)


def test_a_guest_is_told_what_its_node_says(bed: Testbed) -> None:
    found = card(bed, GUEST_DOMID)
    assert found["state"] == "connected"
    assert found["name"] == "Xen PV Audio"
    playback, capture = found["streams"]
    assert (playback["direction"], playback["state"]) == ("playback", "running")
    assert (capture["direction"], capture["state"]) == ("capture", "suspended")
    properties = bed.node() or {}
    assert playback["node"] == SINK
    assert playback["period_frames"] == properties["xenpv.period-frames"]
    published_msec = playback["published_delay_frames"] * 1000 / playback["rate_hz"]
    assert published_msec == pytest.approx(float(properties["xenpv.delay-ms"]), abs=1)
    assert playback["drives"] is True
    assert playback["quantum_frames"] == 1024


def test_a_host_is_told_of_each_guest(bed: Testbed) -> None:
    assert bed.host is not None
    found = card(bed, 0)
    assert (found["peer_domain"], found["peer_name"]) == (GUEST_DOMID, "demo-guest")
    assert found["microphone"] is True and found["muted"] is False
    playback, capture = found["streams"]
    assert (playback["state"], playback["host"]) == ("running", "pipewire")
    assert playback["volume_db"] == [0, 0]
    assert 0 < playback["fill_frames"] <= playback["buffer_frames"]
    assert capture["state"] == "closed"
    later = card(bed, 0)["streams"][0]
    assert later["position_frames"] > playback["position_frames"]


def test_people_read_who_plays_and_how_late_it_is(bed: Testbed) -> None:
    text = status(bed, GUEST_DOMID)
    assert "frontend of domain 1: PipeWire is there, 1 card" in text
    assert "vsnd/0 Xen PV Audio, by domain 0: connected" in text
    (line,) = [line for line in text.splitlines() if "0/0 playback" in line]
    assert "running" in line and "48000 Hz x2" in line and "quantum 1024" in line
    assert re.search(r"\d+\.\d ms published, host \d+\.\d ms, fill \d+\.\d ms", line)
    assert "pw-play" in line
    assert bed.host is not None
    text = status(bed, 0)
    assert "vsnd/0, for domain 1 (demo-guest): connected; microphone allowed" in text


def test_without_rich_the_same_lines_are_plain(bed: Testbed) -> None:
    hidden = "import sys; sys.modules['rich'] = None; import xenpvaudio.control.status as s;"
    hidden += "s.find_spec = lambda name: None; s.run_status()"
    done = subprocess.run(
        [sys.executable, "-c", hidden],
        env=bed.environ(GUEST_DOMID),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "0/0 playback  running  " in done.stdout


def test_metrics_are_openmetrics_text(bed: Testbed) -> None:
    lines = status(bed, GUEST_DOMID, "--metrics").splitlines()
    assert lines[-1] == "# EOF"
    labels = 'half="frontend",peer="0",card="vsnd/0",stream="0/0",direction="playback"'
    figures = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert figures[f"xenpv_running{{{labels}}}"] == "1"
    assert 0 < float(figures[f"xenpv_published_delay_seconds{{{labels}}}"]) < 1
    assert float(figures[f"xenpv_xruns_total{{{labels}}}"]) >= 0
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    for name in figures:
        assert re.fullmatch(r"[a-z_]+\{[^{}]*\}", name)
        family = re.sub(r"(_total)?\{.*", "", name)
        assert family in names


def test_watch_goes_on_until_it_is_interrupted(bed: Testbed) -> None:
    watcher = subprocess.Popen(
        [sys.executable, "-m", "xenpvaudio", "status", "--watch"],
        env=bed.environ(GUEST_DOMID),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watcher.stdout is not None
    shown = []
    for line in watcher.stdout:
        shown += [line] if "0/0 playback" in line else []
        if len(shown) == 2:
            break
    watcher.terminate()
    watcher.stdout.close()
    watcher.wait(20)
    assert len(shown) == 2


def test_where_nothing_runs_the_error_says_what_to_start(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", "status"],
        env={"PATH": "/usr/bin:/bin", SIM_VARIABLE: f"{tmp_path}:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "neither half of Xen PV Audio runs here; start it" in done.stderr
