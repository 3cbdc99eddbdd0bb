"""What a client is told stays true over changes of the graph, while it plays and captures.

To 1.5 frames; soon after the change to 4, as clocks are learned anew or a strange one is followed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

pytest.importorskip("numpy")

import numpy as np

from interop.duplex import duplex_on
from witness import runs_that_count
from xenpvaudio.measure.correlate import DelayTrack
from xenpvaudio.measure.duplex import DuplexRun
from xenpvaudio.measure.timing import Series, Truth, analyse
from xenpvaudio.testbed.noise_player import noise
from xenpvaudio.testbed.testbed import SINK, SOURCE, Testbed, card_nodes

RATE, QUANTUM, PPM = 48000, 512, 100
# The change comes at 5 s and goes at 10 s; between and after them the delay is judged.
SECONDS, BEGIN_SEC, END_SEC = 17, 5, 10
WINDOWS = ((2.5, 4.5), (7.5, 9.5), (13.5, 16.5))
MOST_RUNS, STALL_NSEC = 4, 5_000_000

Change = Callable[[Testbed], AbstractContextManager[None]]


@contextmanager
def another_driver(bed: Testbed) -> Iterator[None]:
    """A device that outranks ours joins the probe's group: ours follow it and resample."""
    with bed.guest.popen(["pw-cli"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as keeper:
        assert keeper.stdin is not None
        keeper.stdin.write(
            b"create-node adapter { factory.name=support.null-audio-sink node.name=boss"
            b" media.class=Audio/Sink audio.channels=2 audio.position=[FL FR]"
            b" node.group=xen-pv-audio-probe priority.driver=30000 node.always-process=true"
            # WirePlumber 0.5 would make it the default sink, and move the probe's stream there
            b" priority.session=1 }\n"
        )
        keeper.stdin.flush()
        yield
        keeper.kill()


@contextmanager
def another_quantum(bed: Testbed) -> Iterator[None]:
    def force(frames: int) -> None:
        settings = ["pw-metadata", "-n", "settings", "0", "clock.force-quantum"]
        bed.guest.run([*settings, str(frames)], stdout=subprocess.DEVNULL)

    force(256)
    yield
    force(0)


@contextmanager
def another_backend(bed: Testbed) -> Iterator[None]:
    """Killed and started anew: positions begin at 0 again, the graph waits meanwhile."""
    assert bed.backend is not None
    bed.backend.kill()
    bed.backend.wait()
    bed.start_backend()
    yield


@contextmanager
def a_stall(bed: Testbed) -> Iterator[None]:
    """The guest's vCPU is gone for 60 ms: the host plays silence, which the position skips."""
    assert bed.frontend is not None
    bed.frontend.send_signal(signal.SIGSTOP)
    time.sleep(0.06)
    bed.frontend.send_signal(signal.SIGCONT)
    yield


def run_with(change: Change) -> tuple[DuplexRun, Series]:
    output = f"loopback,delay=40ms,gain=-6dB,ppm={PPM},quantum=256"
    with Testbed(
        card_nodes(rates=[RATE]),
        rate=RATE,
        quantum_frames=QUANTUM,
        host_environ=os.environ,
        backend_args=["--allow-microphone", "--output", output],
    ) as bed:
        bed.wait_for_node(SINK)
        bed.wait_for_node(SOURCE)
        runs: list[DuplexRun] = []

        def play() -> None:
            runs.append(duplex_on(bed, SECONDS, QUANTUM))

        thread = threading.Thread(target=play)
        thread.start()
        time.sleep(BEGIN_SEC)
        with change(bed):
            time.sleep(END_SEC - BEGIN_SEC)
        thread.join()
    (run,) = runs
    sent = np.array(noise(SECONDS * RATE, 1), dtype=np.float64)
    track = DelayTrack(sent, np.array(run.captured, dtype=np.float64))
    found = analyse(run.play_marks, run.capture_marks, track, RATE, truth=Truth(0.04 * RATE, PPM))
    assert found is not None
    return run, found[1]


def untrue(series: Series) -> list[str]:
    """The windows in which what was told is wrong, or was not told."""
    wrong = []
    for begin, end in WINDOWS:
        inside = series.deviation[(series.time >= begin) & (series.time < end)]
        limit = 4 if BEGIN_SEC < begin < END_SEC else 1.5
        figures = np.percentile(inside, [1, 50, 99]) if len(inside) else "-"
        said = f"{begin} to {end} s: {len(inside)} marks, {figures}"
        print(said)
        if len(inside) <= 50 or abs(float(np.median(inside))) >= limit:
            wrong.append(said)
    return wrong


@pytest.mark.parametrize("change", [another_driver, another_quantum, another_backend, a_stall])
def test_the_delay_told_is_true_before_during_and_after(change: Change) -> None:
    (wrong,) = runs_that_count(
        lambda: untrue(run_with(change)[1]), lambda wrong: not wrong, 1, MOST_RUNS, STALL_NSEC
    )
    assert wrong == []
