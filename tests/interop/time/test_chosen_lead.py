"""A lead that the user chose lasts while the stream is open, however often programs come and go."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from interop.sound import RATE, eventually, noise, write_noise
from xenpvaudio.testbed.testbed import SINK, Testbed, card_nodes

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

LEAD_FRAMES = 4096
"""Three times what the host needs here."""
PLAYED_SEC = 2


def test_a_program_that_plays_again_finds_the_chosen_lead(tmp_path: Path) -> None:
    file = write_noise(tmp_path / "noise.wav", noise(PLAYED_SEC * RATE, 2), 2)
    arguments = ("--lead-frames", str(LEAD_FRAMES))
    with Testbed(card_nodes(), rate=RATE, frontend_args=arguments) as bed:
        bed.wait_for_node()

        def told(key: str) -> str:
            return str((bed.node() or {}).get(f"xenpv.{key}"))

        for _ in range(2):
            with bed.guest.popen(
                ["pw-play", "--target", SINK, str(file)], stdout=subprocess.DEVNULL
            ) as player:
                eventually(lambda: told("state") == "running", "nothing is played")
                eventually(lambda: told("lead-ms") == f"{LEAD_FRAMES / 48:.3f}", told("lead-ms"))
                assert told("delay-ms") == told("lead-ms")
                assert player.wait() == 0
            eventually(lambda: told("state") == "idle", "it does not pause")
        assert bed.log("frontend").count(": open ") == 1  # not closed and opened anew between
