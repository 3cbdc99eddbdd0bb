"""What clients of PulseAudio are told of the delay, against the true one.

pipewire-pulse tells half a quantum too little on average: index and delay are those of the cycle's
start, and clients ask at any moment of it. So the error is a property of the quantum, not of the
device. Two cures are shipped: the smaller quantum of packaging/pipewire, and the option
`frontend --pulse-delay`.
"""

from __future__ import annotations

import array
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("numpy")
import numpy as np

from interop import pulse_client
from xenpvaudio.measure.correlate import DelayTrack
from xenpvaudio.measure.timing import Marks
from xenpvaudio.testbed.noise_player import noise
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

ROOT = Path(__file__).resolve().parents[3]
PIPEWIRE = ROOT / "packaging" / "pipewire"
RATE = pulse_client.RATE
SECONDS = 6.0
PATH_FRAMES = 1920
SHIPPED_QUANTUM = 256
# What pipewire-pulse has of its own; the test session's is as large as its quantum.
LEAST_REQUEST = "pulse.properties = { pulse.min.req = 256/48000 }"


def shipped(folder: str) -> str:
    return (PIPEWIRE / folder / "50-xen-pv-audio.conf").read_text()


def bed(quantum: int, frontend_args: Sequence[str] = (), *, files: bool = False) -> Testbed:
    """files: with the shipped ones, in a session that has PipeWire's own limit for virtual machines
    (or any other at `quantum`) before them."""
    return Testbed(
        card_nodes(),
        rate=RATE,
        quantum_frames=quantum,
        guest_min_quantum_frames=quantum,
        guest_fragments=[shipped("pipewire.conf.d")] if files else [],
        guest_pulse_fragments=[
            LEAST_REQUEST,
            *([shipped("pipewire-pulse.conf.d")] if files else []),
        ],
        host_environ=os.environ,  # the device needs no PipeWire on the host
        backend_args=[
            "--allow-microphone",
            *("--output", "loopback,delay=40ms,gain=0dB,quantum=256"),
        ],
        frontend_args=frontend_args,
    )


def error_frames(made: Testbed, quantum: int) -> float:
    """The mean error of what a PulseAudio client that plays is told. The same noise comes back to a
    native client, which is told the truth: when was each frame at the microphone?"""
    made.wait_for_node(SINK)
    made.wait_for_node(SOURCE)
    frames = str(round((SECONDS + 2) * RATE))
    with tempfile.TemporaryDirectory(prefix="xpa-pulse-") as folder:
        captured = Path(folder) / "captured.f32"
        command = [
            sys.executable,
            "-m",
            "xenpvaudio.testbed.noise_player",
            "--source",
            SOURCE,
            "--channels",
            "1",
        ]
        command += ["--rate", str(RATE), "--quantum", str(quantum), "--frames", "0"]
        command += ["--capture-frames", frames, "--capture-file", str(captured)]
        probe = made.guest.popen(command, stdout=subprocess.PIPE, text=True)
        client = made.guest.run(
            [sys.executable, pulse_client.__file__, SINK, str(quantum), str(SECONDS)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert client.returncode == 0, client.stderr
        output, _ = probe.communicate(timeout=60)
        samples = array.array("f")
        samples.frombytes(captured.read_bytes())
    sent = np.array(noise(round(SECONDS * RATE), 1), dtype=np.float64)
    track = DelayTrack(sent, np.array(samples, dtype=np.float64))
    assert track.blocks, "the noise did not come back"
    told = np.array(json.loads(client.stdout)["marks"], dtype=np.float64)
    microphone = Marks(json.loads(output)["capture_marks"], int(told[0, 1]), RATE)
    lag = np.median([block.lag for block in track.blocks])
    frames, published_nsec = told[:, 0], told[:, 2] - int(told[0, 1])
    _, heard_nsec = microphone.at(frames + track.lag_at(frames + lag))
    errors = (published_nsec - heard_nsec) * RATE * 1e-9 + PATH_FRAMES
    known = np.isfinite(errors) & (frames > RATE)  # without the first second
    assert np.count_nonzero(known) > 20 * (SECONDS - 2)
    mean = float(np.mean(errors[known]))
    print(made.quantum_frames, quantum, mean, np.percentile(errors[known], (1, 50, 99)))
    return mean


@pytest.mark.parametrize("quantum", [1024, 512])
def test_pulse_clients_are_told_half_a_quantum_too_little(quantum: int) -> None:
    with bed(quantum) as made:
        error = error_frames(made, quantum)
    assert error == pytest.approx(-quantum / 2, abs=quantum / 8)


def test_the_frontend_s_option_takes_it_out() -> None:
    with bed(1024, ["--pulse-delay"]) as made:
        error = error_frames(made, 1024)
    assert error == pytest.approx(0, abs=1024 / 8)


def test_the_shipped_files_make_it_smaller_in_virtual_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With them a client that asks for a quantum of 256 frames gets it. (The variable is PipeWire's
    own: it believes to be in a virtual machine wherever this runs.)"""
    monkeypatch.setenv("PIPEWIRE_VM", "2")  # SPA_CPU_VM_KVM (spa/support/cpu.h)
    with bed(1024) as made:
        before = error_frames(made, SHIPPED_QUANTUM)
    with bed(1024, files=True) as made:
        after = error_frames(made, SHIPPED_QUANTUM)
    assert before == pytest.approx(-1024 / 2, abs=1024 / 8)
    assert after == pytest.approx(-SHIPPED_QUANTUM / 2, abs=SHIPPED_QUANTUM / 4)
