"""The card's volume and mute as ALSA controls: amixer and alsactl in a guest without PipeWire, on a
host that makes the volume and on one that leaves it to the guest."""

from __future__ import annotations

import array
import errno
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interop.alsa.bed import CTL_PLUGIN, AlsaBed, alsa_bed
from interop.outputs.pulseaudio import PulseAudio, installed
from interop.sound import RATE, eventually, write_noise
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio_native import ffi, lib

pytestmark = [
    pytest.mark.skipif(shutil.which("amixer") is None, reason="no alsa-utils"),
    pytest.mark.skipif(not CTL_PLUGIN.exists(), reason="built without libasound2-dev"),
]


@pytest.fixture(scope="module")
def bed() -> Iterator[AlsaBed]:
    with alsa_bed() as made:
        yield made


def told(bed: AlsaBed, control: str = "Master") -> tuple[list[str], str]:
    """What amixer reads: dB of each channel, and "on" or "off"."""
    said = bed.run("amixer", "-D", "xenpv", "sget", control)
    return re.findall(r"\[(-?[\d.]+)dB\]", said), re.findall(r"\[(on|off)\]", said)[0]


@contextmanager
def monitor(bed: AlsaBed, folder: Path) -> Iterator[Path]:
    """What `amixer events` prints."""
    said = folder / "monitor"
    command = ("stdbuf", "-oL", "amixer", "-D", "xenpv", "events")
    with said.open("wb") as target, bed.popen(*command, stdout=target) as watching:
        try:
            eventually(lambda: "Ready" in said.read_text(), "amixer does not watch")
            yield said
        finally:  # it would go on for ever
            watching.kill()


def test_amixer_sets_what_amixer_reads(bed: AlsaBed) -> None:
    bed.run("amixer", "-D", "xenpv", "sset", "Master", "300,450")
    assert told(bed) == (["-30.00", "-15.00"], "on")
    bed.run("amixer", "-D", "xenpv", "sset", "Master", "0dB", "mute")
    assert told(bed) == (["0.00", "0.00"], "off")
    bed.run("amixer", "-D", "xenpv", "sset", "Master", "unmute")
    assert told(bed)[1] == "on"


def test_every_volume_is_read_back_as_it_was_set(bed: AlsaBed) -> None:
    for steps in (0, 1, 2, 37, 300, 599, 600):
        bed.run("amixer", "-q", "-D", "xenpv", "cset", "name=Capture Volume", str(steps))
        said = bed.run("amixer", "-D", "xenpv", "cget", "name=Capture Volume")
        assert f": values={steps},{steps}" in said


def test_a_control_has_each_stream_s_channels_and_its_place() -> None:
    nodes = card_nodes() | {
        "0/2/type": "p",
        "0/2/unique-id": "second",
        "0/1/channels-min": "1",
        "0/1/channels-max": "1",
    }
    with alsa_bed(nodes=nodes) as bed:
        controls = bed.run("amixer", "-D", "xenpv", "controls")
        assert "name='Master Playback Volume',index=1" in controls
        contents = bed.run("amixer", "-D", "xenpv", "cget", "name=Capture Volume")
        assert "values=1," in contents


def test_who_watches_hears_of_another_program_once(bed: AlsaBed, tmp_path: Path) -> None:
    with monitor(bed, tmp_path) as said:
        bed.run("amixer", "-q", "-D", "xenpv", "cset", "name=Master Playback Volume", "200")
        bed.run("amixer", "-q", "-D", "xenpv", "cset", "name=Master Playback Switch", "off")
        bed.run("amixer", "-q", "-D", "xenpv", "cset", "name=Capture Switch", "off")
        eventually(lambda: "Capture Switch" in said.read_text().partition("Ready")[2], "no event")
        events = re.findall(r"event value: .*name='(.+)'", said.read_text().partition("Ready")[2])
        assert events == ["Master Playback Volume", "Master Playback Switch", "Capture Switch"]
    bed.run("amixer", "-q", "-D", "xenpv", "sset", "Master", "600", "unmute")
    bed.run("amixer", "-q", "-D", "xenpv", "sset", "Capture", "cap")


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: no /dev of our own")
def test_alsactl_monitors_and_restores(bed: AlsaBed, tmp_path: Path) -> None:
    """It looks for /dev/snd, which a machine without a sound card has not."""
    own_dev = "mount -t tmpfs none /dev && mkdir /dev/snd && mknod /dev/null c 1 3 && exec "
    said = tmp_path / "said"
    inside = ("unshare", "--mount", "sh", "-c", own_dev + "stdbuf -oL alsactl monitor xenpv")
    with said.open("wb") as target, bed.popen(*inside, stdout=target) as watching:

        def hears() -> bool:
            bed.run("amixer", "-q", "-D", "xenpv", "sset", "Capture", "1-")
            return "Capture Volume" in said.read_text()

        try:
            eventually(hears, "alsactl hears nothing")
        finally:
            watching.kill()
    bed.run("amixer", "-q", "-D", "xenpv", "sset", "Capture", "600")


def test_a_program_s_mixer_survives_the_frontend_s_restart(bed: AlsaBed) -> None:
    command = ["amixer", "-q", "-s", "-D", "xenpv"]
    with subprocess.Popen(
        command, env=bed.env, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as mixer:
        assert mixer.stdin is not None
        mixer.stdin.write("sset Master 100\n")
        mixer.stdin.flush()
        eventually(lambda: told(bed)[0] == ["-50.00", "-50.00"], "it is not set")
        bed.frontend.kill()
        bed.frontend.wait()
        bed.start_frontend()
        _, said = mixer.communicate("sset Master 200\n", timeout=20)
        assert mixer.returncode == 0, said
    assert told(bed)[0] == ["-40.00", "-40.00"]
    bed.run("amixer", "-q", "-D", "xenpv", "sset", "Master", "600")


WATCH = """
import ctypes, os, select
asound = ctypes.CDLL("libasound.so.2")
ctl, event = ctypes.c_void_p(), ctypes.c_void_p()
assert asound.snd_ctl_open(ctypes.byref(ctl), b"xenpv", 2) == 0
assert asound.snd_ctl_subscribe_events(ctl, 1) == 0
class Pollfd(ctypes.Structure):
    _fields_ = [("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short)]
fds = Pollfd()
assert asound.snd_ctl_poll_descriptors(ctl, ctypes.byref(fds), 1) == 1
asound.snd_ctl_event_malloc(ctypes.byref(event))
print("watches", flush=True)
poll = select.poll()
poll.register(fds.fd, fds.events)
poll.poll()
print(asound.snd_ctl_read(ctl, event))
"""


def test_who_watches_hears_that_the_frontend_has_ended() -> None:
    with (
        alsa_bed() as bed,
        bed.popen(sys.executable, "-c", WATCH, stdout=subprocess.PIPE, text=True) as watching,
    ):
        assert watching.stdout is not None
        assert watching.stdout.readline() == "watches\n"
        bed.frontend.kill()
        bed.frontend.wait()
        assert watching.communicate(timeout=20)[0] == f"{-errno.ENODEV}\n"


# -- who makes it


def loudness(data: bytes) -> float:
    """The greatest s16 sample, of 1."""
    return max(map(abs, array.array("h", data)), default=0) / 32768


def play(bed: AlsaBed, folder: Path) -> float:
    samples = array.array("f", [0.5, -0.5] * RATE)
    bed.run("aplay", "-q", "-D", "xenpv", str(write_noise(folder / "half.wav", samples, 2)))
    return loudness(bed.heard())


def test_what_the_host_does_not_do_is_done_in_the_guest(tmp_path: Path) -> None:
    """The output loopback mixes nothing."""
    with alsa_bed(output="loopback,quantum=256") as bed:
        assert play(bed, tmp_path) == pytest.approx(0.5, abs=1e-4)
        bed.run("amixer", "-q", "-D", "xenpv", "sset", "Master", "480")  # -12 dB
        assert play(bed, tmp_path) == pytest.approx(0.5 * 10 ** (-12 / 20), abs=1e-4)
        bed.run("amixer", "-q", "-D", "xenpv", "sset", "Master", "mute")
        assert play(bed, tmp_path) == 0
        assert "it is done here" in bed.log("frontend")
        assert "PipeWire" not in bed.log("frontend")


@contextmanager
def pulse_host(tmp_path: Path) -> Iterator[tuple[AlsaBed, PulseAudio]]:
    installed()
    null = "module-null-sink sink_name=speaker channels=2 rate=48000"
    with PulseAudio(tmp_path, [null]) as server, pytest.MonkeyPatch.context() as patch:
        for key in ("PULSE_SERVER", "PULSE_RUNTIME_PATH"):
            patch.setenv(key, server.env[key])
        with alsa_bed(output="pulse") as bed:
            yield bed, server


def test_the_host_s_mixer_and_the_guest_s_are_one(tmp_path: Path) -> None:
    with pulse_host(tmp_path) as (bed, server), monitor(bed, tmp_path) as said:
        bed.run("amixer", "-q", "-D", "xenpv", "sset", "Master", "480")
        noise = ("-q", "-D", "xenpv", "-f", "dat", "-d", "20", "/dev/zero")
        with bed.popen("aplay", *noise) as playing:

            def inputs() -> str:
                return server.pactl("list", "sink-inputs")

            eventually(lambda: "-12.00 dB" in inputs(), "the host has another volume")
            number = re.findall(r"Sink Input #(\d+)", inputs())[0]
            before = said.stat().st_size
            server.pactl("set-sink-input-volume", number, "-6dB")
            # by 6 dB
            eventually(lambda: told(bed)[0] == ["-18.00", "-18.00"], str(told(bed)))
            server.pactl("set-sink-input-mute", number, "1")
            eventually(lambda: told(bed)[1] == "off", str(told(bed)))
            eventually(lambda: "Playback Switch" in said.read_text()[before:], "no event")
            bed.run("amixer", "-q", "-D", "xenpv", "sset", "Master", "unmute")
            eventually(lambda: "Mute: no" in inputs(), "the host is still mute")
            playing.terminate()


# -- nonsense


def ask(bed: AlsaBed, **fields: int | list[int]) -> int:
    """The status of the answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(20)
        connection.connect(str(bed.socket))
        told = {"version": lib.XPA_PCM_VERSION, "ask": lib.XPA_CTL_WRITE} | fields
        connection.send(bytes(ffi.buffer(ffi.new("struct xpa_ctl_question *", told))))
        answer = connection.recv(ffi.sizeof("struct xpa_ctl_answer"))
        return int(ffi.from_buffer("struct xpa_ctl_answer *", answer).status)


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": 2},
        {"stream": 4_000_000_000},
        {"kind": 2},
        {"values": [-1, 0]},
        {"values": [601, 0]},
        {"values": [0, 2_000_000_000]},
    ],
    ids=str,
)
def test_no_control_and_no_value_is_refused(bed: AlsaBed, fields: dict[str, int]) -> None:
    assert ask(bed, **fields) == -22
    assert told(bed)[0] == ["0.00", "0.00"]
    assert "Traceback" not in bed.log("frontend")


def test_a_watcher_that_reads_nothing_costs_a_few_events(bed: AlsaBed) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as deaf:
        deaf.connect(str(bed.socket))
        question = {"version": lib.XPA_PCM_VERSION, "ask": lib.XPA_CTL_WATCH}
        deaf.send(bytes(ffi.buffer(ffi.new("struct xpa_ctl_question *", question))))
        for i in range(400):
            assert ask(bed, values=[i, i]) == 0
        deaf.settimeout(0.5)
        events = 0
        with pytest.raises(TimeoutError):
            while deaf.recv(100):
                events += 1
        assert 1 <= events < 100
        assert ask(bed, values=[600, 600]) == 0
        assert len(deaf.recv(100)) == ffi.sizeof("struct xpa_ctl_event")
    assert os.path.exists(bed.socket)
