"""A policy with microphone = "ask" and a real desktop's notification: libnotify's notify-send, and
dunst on a private X server, whose menu of buttons is a script that presses one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from interop.command import command
from interop.sound import MICROPHONE, eventually
from xenpvaudio.testbed.testbed import SOURCE, Testbed, card_nodes, find_node

PROGRAMS = ("pipewire", "notify-send", "dunst", "dunstctl", "Xvfb")
pytestmark = pytest.mark.skipif(
    any(shutil.which(program) is None for program in PROGRAMS), reason="no desktop to try it on"
)

GUEST = "demo-guest"
CAPTURE = "xenpv.demo-guest.vsnd/0.0/1"
WANTS = f"{GUEST} wants the microphone"


class Desktop:
    """A notification daemon in the host's session, whose menu presses the button that is told."""

    def __init__(self, bed: Testbed, directory: Path) -> None:
        assert bed.host is not None
        self.seen = directory / "seen"
        self._pressed = directory / "pressed"
        menu = directory / "menu"
        menu.write_text(f'#!/bin/sh\ntee "{self.seen}" | grep -F "$(cat "{self._pressed}")"\n')
        menu.chmod(0o755)
        (directory / "dunstrc").write_text(f'[global]\n    dmenu = "{menu}"\n')
        self._directory = directory
        self._env = {**os.environ, **bed.host.env}

    @contextmanager
    def shown(self) -> Iterator[None]:
        with ExitStack() as stack:
            read, write = os.pipe()
            screen = ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten"]
            server = subprocess.Popen([*screen, "tcp"], pass_fds=[write], stderr=subprocess.DEVNULL)
            stack.callback(lambda: (server.terminate(), server.wait()))
            os.close(write)
            with os.fdopen(read) as told:
                self._env["DISPLAY"] = f":{told.readline().strip()}"
            dunst = subprocess.Popen(
                ["dunst", "-config", str(self._directory / "dunstrc")],
                env=self._env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(lambda: (dunst.terminate(), dunst.wait()))
            eventually(lambda: self._ctl("count", "displayed", check=False) == "0", "no dunst")
            yield

    def _ctl(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["dunstctl", *words], env=self._env, capture_output=True, text=True, check=check
        )
        return done.stdout.strip()

    @property
    def questions(self) -> int:
        return int(self._ctl("count", "displayed"))

    def press(self, button: str) -> None:
        eventually(lambda: self.questions == 1, "no question on the screen")
        self._pressed.write_text(button)
        self._ctl("context")
        eventually(lambda: self.questions == 0, f"{button} is not pressed")


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Testbed]:
    policy = tmp_path / "backend.toml"
    policy.write_text('[default]\nmicrophone = "ask"\n')
    with Testbed(
        card_nodes(), backend_args=["--policy", str(policy)], host_fragments=[MICROPHONE]
    ) as made:
        made.wait_for_node(SOURCE)
        yield made


@contextmanager
def recording(bed: Testbed, file: Path) -> Iterator[None]:
    with bed.guest.popen(["pw-record", "--target", SOURCE, str(file)]) as recorder:
        try:
            eventually(
                lambda: (bed.node(SOURCE) or {}).get("xenpv.state") == "running", "no recording"
            )
            yield
        finally:
            recorder.kill()


def rests(bed: Testbed) -> None:
    eventually(lambda: (bed.node(SOURCE) or {}).get("xenpv.state") != "running", "it goes on")


def listens(bed: Testbed) -> bool:
    assert bed.host is not None
    return find_node(bed.host, CAPTURE) is not None


def test_without_a_desktop_it_is_denied_in_one_line(bed: Testbed, tmp_path: Path) -> None:
    with recording(bed, tmp_path / "r.wav"):
        eventually(lambda: "nobody can be asked (notify-send: " in bed.log("backend"), "no line")
        time.sleep(0.5)
        assert not listens(bed)
    assert "`xen-pv-audio mic allow 1` allows it" in bed.log("backend")
    assert "Traceback" not in bed.log("backend")


@pytest.mark.parametrize(
    ("button", "by"),
    [
        ("Allow once", "allowed by an order"),
        ("Always allow", "allowed by a lasting order"),
        ("Deny", "denied by an order"),
    ],
)
def test_each_button_does_what_it_reads(button: str, by: str, bed: Testbed, tmp_path: Path) -> None:
    desktop = Desktop(bed, tmp_path)
    with desktop.shown():
        with recording(bed, tmp_path / "1.wav"):
            eventually(lambda: desktop.questions == 1, "no question")
            assert not listens(bed)
            assert "denied by the policy, which asks" in command(bed, 0, "mic", "list")
            desktop.press(button)
            eventually(lambda: by in command(bed, 0, "mic", "list"), "the answer came to nothing")
            if button != "Deny":
                eventually(lambda: listens(bed), "allowed, and it does not listen")
            assert listens(bed) == (button != "Deny")
        seen = desktop.seen.read_text()
        assert all(words in seen for words in ("Allow once", "Always allow", "Deny")), seen
        rests(bed)
        with recording(bed, tmp_path / "2.wav"):
            time.sleep(0.5)
            assert desktop.questions == 0
        assert bed.log("backend").count(WANTS) == 1
    assert "by the notification's answer" in bed.log("backend")


def test_an_order_takes_the_question_off_the_screen(bed: Testbed, tmp_path: Path) -> None:
    desktop = Desktop(bed, tmp_path)
    with desktop.shown(), recording(bed, tmp_path / "1.wav"):
        eventually(lambda: desktop.questions == 1, "no question")
        command(bed, 0, "mic", "allow", GUEST)
        eventually(lambda: desktop.questions == 0, "the question stays")
        eventually(lambda: listens(bed), "it does not listen")
