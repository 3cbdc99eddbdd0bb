"""What `make bench` makes of what it has measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.dom import minidom

import pytest

from bench import picture
from bench.sections.calls import parsed
from bench.sections.peers import NULL, ratios
from bench.sections.scale import Cost, all_of, model
from bench.sides.side import NotHereError, Side, module
from bench.window import Window, watch

ROOT = Path(__file__).resolve().parents[3]
STRACE = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.34    0.011301          10      1056           epoll_wait
 23.04    0.004245           4       939       128 read
 15.62    0.002877           6       469           write
------ ----------- ----------- --------- --------- ----------------
100.00    0.018423           7      2464       128 total
"""


def side(name: str, **pids: int) -> Side:
    return Side(name, None, "sink", pids, {"manager": 1})  # type: ignore[arg-type]


def test_system_calls_are_counted_with_and_without_errors() -> None:
    assert parsed(STRACE) == {"epoll_wait": 1056, "read": 939, "write": 469}
    assert parsed("strace: Process 12 attached\n") == {}


def test_a_ratio_is_that_of_one_round_and_without_who_is_only_woken_by_it() -> None:
    """The machine became twice as slow in the second round."""
    there = {NULL: side(NULL, front=2, back=3), "pulse-tunnel": side("pulse-tunnel", daemon=4)}
    found = [
        {
            NULL: Window(
                {"front": 6 * f, "back": 4 * f, "manager": 99.0}, {"front": 20.0, "back": 10.0}
            ),
            "pulse-tunnel": Window({"daemon": 20 * f, "manager": 99.0}, {"daemon": 60.0}),
        }
        for f in (1.0, 2.0)
    ]
    told = ratios(found, there)
    assert told == {f"{NULL} / pulse-tunnel": {"cpu": [0.5, 0.5], "wakes": [0.5, 0.5]}}


def cost(streams: int, backend_msec: float) -> Cost:
    window = Window({"backend": backend_msec, "guest": 3.0}, {"backend": 1.0, "guest": 2.0})
    return Cost(streams, 1, window, 10.0, 20.0, 3, 0, 0, 100, 0)


def test_the_model_is_a_line_through_what_the_backend_needed() -> None:
    words = model([cost(n, 4 + 2.5 * n) for n in (1, 4, 16, 64)])
    assert "backend 4.0 + 2.50 ms/s a stream: 644 ms/s" in words
    assert "one thread is full at 398" in words


def test_xruns_are_found_however_deep_they_are_told() -> None:
    told = [{"cards": [{"streams": [{"xruns": 2}, {"state": "suspended"}]}]}, {"cards": []}]
    assert list(all_of(told, "xruns")) == [2]


def test_a_module_that_pipewire_does_not_have_is_said() -> None:
    with pytest.raises(NotHereError, match="no module-of-nobody"):
        module("of-nobody", "")


def test_a_window_sees_what_a_process_uses_and_how_often_it_is_woken() -> None:
    program = "import time\nwhile True: time.sleep(0.01)"
    with subprocess.Popen([sys.executable, "-c", program]) as sleeper:
        try:
            seen = watch({"sleeper": sleeper.pid, "this": os.getpid()}, 1.0)
        finally:
            sleeper.kill()
    assert 10 < seen.wakes["sleeper"] <= 101
    assert 0 < seen.cpu_msec["sleeper"] < 1000


def report() -> dict[str, Any]:
    sides = {
        name: {"cpu_msec_per_sec": [msec, 3 * msec, msec], "wakes_per_sec": [94.0, 95.0, 94.0]}
        for name, msec in (("null sink", 5.4), (NULL, 10.0))
    }
    machine = {"processors": 2, "processor": "A & B", "kernel": "6.1", "pipewire": "0.3.65"}
    return {
        "machine": machine,
        "sections": {"peers": {"figures": {"1024": {"sides": sides}, "256": {"sides": sides}}}},
    }


def test_the_picture_shows_each_sides_median(tmp_path: Path) -> None:
    picture.write(json.loads(json.dumps(report())), tmp_path / "bench.svg")
    drawn = minidom.parse(str(tmp_path / "bench.svg"))
    words = [text.firstChild.data for text in drawn.getElementsByTagName("text")]
    assert words.count("5.4 ms/s, 94 wake-ups") == 2 and words.count("10.0 ms/s, 94 wake-ups") == 2
    assert "A & B" in words[-1]
    bars = [int(bar.getAttribute("width")) for bar in drawn.getElementsByTagName("rect")][1:]
    assert bars[0] < bars[1] and bars[:2] == bars[2:]


def test_a_section_that_is_none_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "pears"],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "no section pears; there are peers, " in done.stderr
