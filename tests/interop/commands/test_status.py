"""status in a guest and on its host, while an application plays: the halves' own words."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from interop.sound import eventually, noise, run_client, write_noise
from xenpvaudio.control.status.lines import WIDTH, lines
from xenpvaudio.control.status.metrics import metrics
from xenpvaudio.testbed.testbed import GUEST_DOMID, SINK, Testbed, card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

RATE = 48000
MANUAL = Path(__file__).resolve().parents[3] / "packaging" / "man" / "xen-pv-audio.1"


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


def status(bed: Testbed, env: Mapping[str, str], domid: int, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", "status", *arguments],
        env={**env, SIM_VARIABLE: f"{bed.directory / 'xen'}:{domid}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def halves(bed: Testbed, domid: int) -> list[dict[str, Any]]:
    assert bed.host is not None
    env = bed.guest.env if domid else bed.host.env
    return list(json.loads(status(bed, env, domid, "--json")))


def card(bed: Testbed, env: Mapping[str, str], domid: int) -> dict[str, Any]:
    (half,) = json.loads(status(bed, env, domid, "--json"))
    assert half["domain"] == domid
    assert half["half"] == ("frontend" if domid else "backend")
    assert half["pipewire"] is True
    (found,) = half["cards"]
    return dict(found)


def test_a_guest_is_told_what_its_node_says(bed: Testbed) -> None:
    found = card(bed, bed.guest.env, GUEST_DOMID)
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
    assert (playback["volume_db"], playback["muted"]) == ([0, 0], [False, False])
    assert (playback["last_error"], found["budgets_met"]) == ("", {})
    assert capture["microphone"] == "allowed"


def test_the_true_delay_is_what_is_told(bed: Testbed) -> None:
    """Within a millisecond, as soon as this machine lets cycles come in time."""

    def apart_frames() -> float:
        playback = card(bed, bed.guest.env, GUEST_DOMID)["streams"][0]
        assert playback["true_delay_frames"] > 0
        return abs(float(playback["true_delay_frames"] - playback["published_delay_frames"]))

    eventually(lambda: apart_frames() < 48, "what is told is not true")


def test_how_unevenly_events_and_the_hosts_cycles_come_is_told(bed: Testbed) -> None:
    """The host's device is a timer, which says when its cycles were due: they come evenly."""
    assert bed.host is not None
    assert 0 < card(bed, bed.guest.env, GUEST_DOMID)["streams"][0]["jitter_usec"] < 100_000
    assert 0 <= card(bed, bed.host.env, 0)["streams"][0]["jitter_usec"] < 1000


def test_a_host_is_told_of_each_guest(bed: Testbed) -> None:
    assert bed.host is not None
    found = card(bed, bed.host.env, 0)
    assert (found["peer_domain"], found["peer_name"]) == (GUEST_DOMID, "demo-guest")
    assert found["microphone"] is True and found["muted"] is False
    playback, capture = found["streams"]
    assert (playback["state"], playback["host"]) == ("running", "pipewire")
    assert playback["volume_db"] == [0, 0]
    assert playback["muted_on_host"] is False
    assert capture["microphone"] == "allowed"
    assert 0 < playback["fill_frames"] <= playback["buffer_frames"]
    assert capture["state"] == "closed"
    later = card(bed, bed.host.env, 0)["streams"][0]
    assert later["position_frames"] > playback["position_frames"]


def test_people_read_who_plays_and_how_late_it_is(bed: Testbed) -> None:
    text = status(bed, bed.guest.env, GUEST_DOMID)
    assert "frontend of domain 1: PipeWire is there, 1 card" in text
    assert "vsnd/0 Xen PV Audio, by domain 0: connected" in text
    told = text.splitlines()
    (at,) = [number for number, line in enumerate(told) if "0/0 playback" in line]
    assert "running" in told[at] and "48000 Hz x2" in told[at] and "quantum 1024" in told[at]
    assert told[at].endswith("0.0 dB")
    figures = r"\d+\.\d ms"
    words = rf"{figures} told, -?{figures} true, host {figures}, fill {figures}, "
    words += r"[-+]\d+\.\d ppm, jitter \d+ us,"
    assert re.search(words, told[at + 1])
    assert "xrun" in told[at + 1] + told[at + 2]
    assert any("pw-play" in line for line in told[at + 2 : at + 4])
    assert bed.host is not None
    text = status(bed, bed.host.env, 0)
    assert "vsnd/0, for domain 1 (demo-guest): connected; microphone allowed" in text


def test_without_rich_the_same_lines_are_plain(bed: Testbed) -> None:
    hidden = "import sys; sys.modules['rich'] = None;"
    hidden += "import xenpvaudio.control.status.command as s;"
    hidden += "s.find_spec = lambda name: None; s.run_status()"
    done = subprocess.run(
        [sys.executable, "-c", hidden],
        env={**bed.guest.env, SIM_VARIABLE: f"{bed.directory / 'xen'}:{GUEST_DOMID}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "0/0 playback  running  " in done.stdout


def test_metrics_are_openmetrics_text(bed: Testbed) -> None:
    """Read by Prometheus' own parser, which refuses what is none."""
    assert bed.host is not None
    labels = {"card": "vsnd/0", "stream": "0/0", "direction": "playback"}
    for env, domid, half in (
        (bed.guest.env, GUEST_DOMID, "frontend"),
        (bed.host.env, 0, "backend"),
    ):
        text = status(bed, env, domid, "--metrics")
        families = {family.name: family for family in text_string_to_metric_families(text)}
        own = labels | {"half": half, "domain": str(domid)}

        def value(name: str, own: Mapping[str, str] = own, found: Any = families) -> float:
            family = found[name.removesuffix("_total")]
            (sample,) = [
                sample
                for sample in family.samples
                if sample.name == name and own.items() <= sample.labels.items()
            ]
            return float(sample.value)

        assert value("xenpv_running") == 1
        assert families["xenpv_xruns"].type == "counter"
        assert value("xenpv_xruns_total") >= 0
        assert 0 <= value("xenpv_jitter_seconds") < 0.1
        assert value("xenpv_muted") == 0
        channels = families["xenpv_volume_decibels"].samples
        assert [sample.value for sample in channels if own.items() <= sample.labels.items()]
        if half == "frontend":
            assert 0 < value("xenpv_published_delay_seconds") < 1


def test_metrics_keep_every_digit_and_every_name(bed: Testbed) -> None:
    """A counter that is rounded stands still; two domains may have one name, with odd letters."""
    (half,) = halves(bed, 0)
    (first,) = half["cards"]
    first["peer_name"] = 'a "b" \\ c\n'
    first["streams"][0]["silence_frames"] = 12_345_678_901
    first["budgets_met"] = {"max-opens-per-sec": 3}
    half["cards"].append(first | {"peer_domain": 7})
    text = "\n".join(metrics([half]))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    told = [s for s in families["xenpv_silence_frames"].samples if s.labels["stream"] == "0/0"]
    assert [sample.value for sample in told] == [12_345_678_901.0] * 2
    assert "12345678901" in text
    assert {sample.labels["peer"] for sample in told} == {first["peer_name"]}
    assert {s.labels["budget"]: s.value for s in families["xenpv_budgets_met"].samples} == {
        "max-opens-per-sec": 3
    }


def test_sixteen_streams_fit_a_terminal(bed: Testbed) -> None:
    """All alike but for what makes a line long."""
    names = ["Firefox", "An application with quite a long name", "mpv"]
    for domid in (0, GUEST_DOMID):
        (half,) = halves(bed, domid)
        (shown,) = half["cards"]
        playing, resting = shown["streams"]
        longest = playing | {
            "volume_db": [-123.456, -1.5],
            "xruns": 123_456,
            "last_xrun_sec": 7199.0,
            "waits": 17,
            "last_error": "OPEN refused: bytes of all streams: 123456789 is more than the policy "
            "allows, 67108864; raise max-memory-bytes in the policy file",
        }
        streams = [playing, longest, resting] * 5 + [longest]
        shown["streams"] = [
            stream | {"path": f"{n}/{n}"} for n, stream in enumerate(streams, start=1)
        ]
        shown["last_error"] = "the other end hides its nodes: " + "x" * 80
        told = [line.text for line in lines([half], {playing.get("node", ""): names})]
        assert max(map(len, told)) <= WIDTH
        assert (
            len([line for line in told if re.match(r"  \d+/\d+ +(playback|capture)", line)]) == 16
        )
        assert len(told) <= 16 * 5 + 6
        assert any("123456 xruns, the last 119 min ago" in line for line in told)
        assert any("-123.5 dB to -1.5 dB" in line for line in told)
        assert "max-memory-bytes" in " ".join(told)


def keys(report: Any) -> set[str]:
    if isinstance(report, list):
        return set().union(*map(keys, report))
    if not isinstance(report, dict):
        return set()
    return set(report).union(*(keys(value) for value in report.values()))


def test_the_manual_says_what_each_key_of_the_json_is(bed: Testbed) -> None:
    text = MANUAL.read_text(encoding="utf-8").replace("\\-", "-")
    section = text.split("\n.SH STATUS AS JSON\n")[1].split("\n.SH ")[0]
    told = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"^\.TP\n(.*)$", section, re.MULTILINE))))
    found = keys(halves(bed, 0)) | keys(halves(bed, GUEST_DOMID))
    assert found - told == set()
    assert {key for key in told if "_" in key} - found == set()


def test_a_stream_that_the_profile_left_out_says_so(bed: Testbed) -> None:
    def capture() -> str:
        return str(card(bed, bed.guest.env, GUEST_DOMID)["streams"][1]["state"])

    run_client(bed.guest, "pactl", "set-card-profile", "xenpv_card.0", "output:playback")
    eventually(lambda: capture() == "off by the card's profile", "it is not told")
    assert "0/1 capture   off by the card's profile" in status(bed, bed.guest.env, GUEST_DOMID)
    duplex = "output:playback+input:capture"
    run_client(bed.guest, "pactl", "set-card-profile", "xenpv_card.0", duplex)
    eventually(lambda: capture() == "suspended", "it is not there again")


def test_the_last_xrun_is_told_by_its_time(bed: Testbed) -> None:
    """A frontend that stands still leaves the host without data, and notices it afterwards."""
    assert bed.frontend is not None and bed.host is not None
    ends = ((bed.host.env, 0), (bed.guest.env, GUEST_DOMID))

    def playback(end: int) -> dict[str, Any]:
        return dict(card(bed, *ends[end])["streams"][0])

    before = [playback(end)["xruns"] for end in (0, 1)]
    began = time.monotonic()
    bed.frontend.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: playback(0)["xruns"] > before[0], "the host lacks nothing")
    finally:
        bed.frontend.send_signal(signal.SIGCONT)
    eventually(lambda: playback(1)["xruns"] > before[1], "the guest did not notice")
    for end in (0, 1):
        told = playback(end)["last_xrun_sec"]
        assert 0 <= told <= time.monotonic() - began + 0.1


def test_watch_goes_on_until_it_is_interrupted(bed: Testbed) -> None:
    watcher = subprocess.Popen(
        [sys.executable, "-m", "xenpvaudio", "status", "--watch"],
        env={**bed.guest.env, SIM_VARIABLE: f"{bed.directory / 'xen'}:{GUEST_DOMID}"},
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


def test_a_reader_that_has_seen_enough_of_it_is_no_error(bed: Testbed) -> None:
    """It ends with 128 + SIGPIPE, as any program does."""
    words = [sys.executable, "-m", "xenpvaudio", "status", "--watch"]
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | head -1', "bash", *words],
        env={**bed.guest.env, SIM_VARIABLE: f"{bed.directory / 'xen'}:{GUEST_DOMID}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_where_nothing_runs_the_error_says_what_to_start(tmp_path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", "status"],
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            SIM_VARIABLE: f"{tmp_path}:1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "neither half of Xen PV Audio runs here; start it" in done.stderr
