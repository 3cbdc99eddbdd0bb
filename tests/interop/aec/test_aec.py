"""`xen-pv-audio aec-check` with the real canceller, short."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("numpy")
PICTURES = find_spec("matplotlib") is not None


def test_the_check_measures_both_paths_and_finds_the_loopbacks_delay(tmp_path: Path) -> None:
    picture = tmp_path / "aec.png"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "xenpvaudio", "aec-check", "--json", "--seconds", "10"),
            *("--runs", "1", *(("--plot", str(picture)) if PICTURES else ())),
            "--simulate=loopback,delay=40ms,gain=-6dB,ppm=100,quantum=256",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert found["passed"] == (done.returncode == 0) == (found["failures"] == [])
    for name in ("card", "local"):
        assert found[name]["erle_db"] > 3
        # 40 ms and what the graph takes
        assert 1920 <= found[name]["delay_frames"] < 48000 / 4
        assert found[name]["delay_drift_ppm"] == pytest.approx(0, abs=20)
    if PICTURES:
        assert picture.read_bytes().startswith(b"\x89PNG")
