"""What goes wrong at the command line: one clear line, the right exit status, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from xenpvaudio.sound.wav import write_wav
from xenpvaudio.testbed.testbed import Testbed, card_nodes
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

USAGE, UNAVAILABLE = 2, 3
LIMIT_SEC = 60  # no requirement, only a bound for a test that fails
SIM = "XEN_PV_AUDIO_SIM"


def environment(**changes: str) -> dict[str, str]:
    """Without Xen, without PipeWire; the modules are where they are for this test."""
    env = {key: text for key, text in os.environ.items() if not key.startswith(("XDG_", "PIPEW"))}
    env.pop(SIM, None)
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    env["XDG_RUNTIME_DIR"] = "/nonexistent"
    return {**env, **changes}


def fails(*arguments: str, status: int, env: Mapping[str, str] | None = None) -> str:
    """Runs the command line; returns its one line of complaint."""
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", *arguments],
        env=environment() if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SEC,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines, "it says nothing"
    assert [line for line in lines if line.startswith("xen-pv-audio: ")] == lines[-1:], lines
    return lines[-1]


@pytest.fixture(scope="module")
def xen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A simulated machine with a guest that has a card, and nobody who serves it."""
    directory = str(tmp_path_factory.mktemp("xen"))
    with start_hypervisor(directory), Toolstack(directory) as toolstack:
        toolstack.create_domain(1, "guest")
        toolstack.attach_vsnd(1, 0, card_nodes())
        yield directory


# -- wrong usage


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "command"),
        (("dance",), "dance"),
        (("frontend", "--loud"), "--loud"),
        (("frontend", "--rate", "fast"), "fast"),
        (("frontend", "--rate", "-1"), "-1"),
        (("frontend", "--period-frames", "0"), "0"),
        (("backend", "--output", "gramophone"), "gramophone"),
        (("backend", "--output", "loopback,delay=soon"), "delay=soon"),
        (("backend", "--output", "loopback,delay=99s"), "99s"),
        (("backend", "--output", "loopback,ppm=1e9"), "1e9"),
        (("backend", "--output", "pipewire,delay=1s"), "delay=1s"),
        (("backend", "--output", "loopback,gain=.."), "gain=.."),
        (("backend", "--output", "loopback,ppm=nan"), "nan"),
        (("backend", "--policy"), "--policy"),
        (("demo", "--quantum", "x"), "x"),
        (("demo", "--format", "mp3"), "mp3"),
        (("demo", "a.wav", "b.wav"), "b.wav"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_is_named(arguments: tuple[str, ...], named: str) -> None:
    assert named in fails(*arguments, status=USAGE)


def test_help_and_version_need_neither_xen_nor_pipewire() -> None:
    for argument in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-m", "xenpvaudio", argument],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert "xen-pv-audio" in done.stdout
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ("microphone = true", "[microphone]"),
        ("[default]\nmicrofone = true", "microfone"),
        ('[default]\nmicrophone = "yes"', "microphone"),
        ("[domain.work]\nmax-streams = 0", "[domain.work] max-streams"),
        ("[domain.work]\nmax-buffer-bytes = 1.5", "max-buffer-bytes"),
        ('[domain.work]\noutput = "radio"', "radio"),
        ("[domain.work]\ntargets = [1]", "targets"),
        ("default = 1", "[default]"),
        ("domain = 1", "domain"),
        ("[default\n", "backend.toml"),
        ("\xff\xfe", "backend.toml"),
    ],
)
def test_wrong_policy_is_named_with_its_file(policy: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "backend.toml"
    path.write_bytes(policy.encode("latin-1"))
    line = fails("backend", "--policy", str(path), status=USAGE)
    assert str(path) in line
    assert named in line


def test_missing_policy_file_is_named(tmp_path: Path) -> None:
    line = fails("backend", "--policy", str(tmp_path / "none.toml"), status=USAGE)
    assert str(tmp_path / "none.toml") in line
    assert "No such file" in line


def test_directory_as_policy_is_named(tmp_path: Path) -> None:
    assert str(tmp_path) in fails("backend", "--policy", str(tmp_path), status=USAGE)


# -- files that are no sound


def test_missing_wav_is_named(tmp_path: Path) -> None:
    line = fails("demo", str(tmp_path / "none.wav"), status=USAGE)
    assert str(tmp_path / "none.wav") in line


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"RIFF\0\0\0\0WAVE", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0", bytes(range(256))],
    ids=["empty", "text", "header only", "broken format", "noise"],
)
def test_file_that_is_no_wav_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert str(path) in fails("demo", str(path), status=USAGE)


def test_wav_with_a_layout_that_no_card_has_is_named(tmp_path: Path) -> None:
    write_wav(tmp_path / "three.wav", 48000, 3, "s16", bytes(6 * 4800))
    line = fails("demo", str(tmp_path / "three.wav"), status=USAGE)
    assert "3 channels" in line


# -- something is not there


@pytest.mark.parametrize("role", ["frontend", "backend"])
def test_machine_without_xen_is_told_so(role: str) -> None:
    line = fails(role, status=UNAVAILABLE)
    assert "Xen" in line


@pytest.mark.parametrize("role", ["frontend", "backend"])
@pytest.mark.parametrize("value", ["", "nonsense", "/tmp:x", ":1"])
def test_wrong_simulation_is_named(role: str, value: str) -> None:
    status = USAGE if value else UNAVAILABLE
    line = fails(role, status=status, env=environment(**{SIM: value}))
    assert value in line


def test_simulation_that_does_not_run_is_named(tmp_path: Path) -> None:
    line = fails("frontend", status=UNAVAILABLE, env=environment(**{SIM: f"{tmp_path}:1"}))
    assert str(tmp_path) in line


@pytest.mark.parametrize("role", ["frontend", "backend"])
def test_no_pipewire_is_told_so(role: str, xen: str, tmp_path: Path) -> None:
    domid = 1 if role == "frontend" else 0
    env = environment(**{SIM: f"{xen}:{domid}", "XDG_RUNTIME_DIR": str(tmp_path)})
    assert "PipeWire" in fails(role, status=UNAVAILABLE, env=env)


def test_guest_without_a_card_is_told_how_to_get_one(xen: str, tmp_path: Path) -> None:
    with Toolstack(xen) as toolstack:
        toolstack.create_domain(7, "bare")
    env = environment(**{SIM: f"{xen}:7", "XDG_RUNTIME_DIR": str(tmp_path)})
    line = fails("frontend", status=1, env=env)
    assert "no virtual sound card" in line
    assert "vsnd" in line


# -- a second one


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed(card_nodes()) as made:
        made.wait_for_node()
        yield made


@pytest.mark.parametrize("role", ["frontend", "backend"])
def test_second_instance_is_refused_and_the_first_goes_on(role: str, bed: Testbed) -> None:
    session = bed.guest if role == "frontend" else bed.host
    running = bed.frontend if role == "frontend" else bed.backend
    assert session is not None and running is not None
    domid = 1 if role == "frontend" else 0
    env = environment() | session.env | {SIM: f"{bed.directory / 'xen'}:{domid}"}
    line = fails(role, status=UNAVAILABLE, env=env)
    assert f"a {role} is running already" in line
    assert str(running.pid) in line
    time.sleep(0.3)
    assert running.poll() is None
    assert bed.node() is not None


def test_record_file_that_cannot_be_written_is_named_and_sound_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "no" / "such" / "folder.wav"
    args = ["--allow-microphone", "--record", str(path)]
    with Testbed(card_nodes(capture=False), backend_args=args) as made:
        made.wait_for_node()
        write_wav(tmp_path / "a.wav", 48000, 2, "s16", bytes(4 * 48000))
        made.guest.run(["pw-play", "--target", "xenpv_sink.0.0.0", str(tmp_path / "a.wav")])
        log = made.log("backend")
        assert str(path) in log
        assert "Traceback" not in log
        assert made.backend is not None and made.backend.poll() is None


@pytest.mark.parametrize("words", [["doctor"], ["--help"], ["doctor", "--help"], ["--version"]])
def test_a_reader_that_has_seen_enough_is_no_error(words: list[str]) -> None:
    """As with `xen-pv-audio doctor | head -1`."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "xenpvaudio", *words],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT_SEC,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
