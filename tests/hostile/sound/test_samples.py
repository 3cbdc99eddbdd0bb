"""A guest's samples are added to everybody's: what is no sound in them reaches nobody else."""

from __future__ import annotations

import array
import math
import shutil
import struct
import time
from collections.abc import Iterator

import pytest

from hostile import header
from hostile.guest import Card
from hostile.honest import LOUD
from hostile.stage import Stage
from xenpvaudio.testbed.testbed import card_nodes

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

SECONDS = 1.0
PAGES = 16
HONEST = LOUD / 32768
MOST = 16.0
FORMATS = {"f": header.F32_LE, "d": header.F64_LE}
NODES = card_nodes(formats=("f32_le", "f64_le"), capture=False)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        stage.start_honest()
        yield stage


def heard_beside(stage: Stage, kind: str, sample: float) -> array.array[float]:
    """What the loudspeaker plays while a guest plays nothing but this sample beside the honest
    one. `kind`: struct's letter."""
    domid = stage.guest(NODES)
    (stream,) = Card(stage.sim, domid).connect("0/0")
    directory, view = stream.share(PAGES)
    view[:] = struct.pack(f"<{kind}", sample) * (len(view) // struct.calcsize(kind))
    shape = {"buffer_bytes": len(view), "period_bytes": len(view) // 4}
    body = header.open_body(directory, sample_format=FORMATS[kind], **shape)
    assert stream.ask(header.OPEN, body)[0] == 0
    whole = header.RW_REQ.pack(0, len(view))
    assert stream.ask(header.WRITE, whole)[0] == 0
    assert stream.ask(header.TRIGGER, header.TRIGGER_REQ.pack(header.START))[0] == 0
    first, end = stage.loudspeaker.frames, time.monotonic() + SECONDS
    while time.monotonic() < end:  # as soon as there is room
        stream.take_answers()
        if stream.waiting < 4:
            stream.send(header.WRITE, whole)
        time.sleep(0.001)
    heard = array.array("f", stage.loudspeaker.data(first))[::2]
    assert stream.take_events()[-1] > 0, "it was not played"
    stream.domain.close()
    stage.tools.destroy_domain(domid)
    return heard


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("sample", [math.nan, math.inf, -math.inf, 1e-40])
def test_samples_that_are_none_are_silence(stage: Stage, kind: str, sample: float) -> None:
    heard = heard_beside(stage, kind, sample)
    wrong = [value for value in heard if not (value == 0 or abs(value - HONEST) < 0.01)]
    print(f"{len(wrong)} of {len(heard)} frames are nobody's: {wrong[:5]}")
    assert not wrong
    assert sum(value != 0 for value in heard) > len(heard) / 2  # the machine may have stalled


@pytest.mark.parametrize("kind", FORMATS)
def test_a_sample_beyond_all_measure_is_bounded(stage: Stage, kind: str) -> None:
    """A host that plays at a hundredth of its volume must not be deafening for it."""
    heard = heard_beside(stage, kind, 3e38)
    assert all(0 <= value <= MOST + HONEST + 0.01 for value in heard), max(heard)
    assert max(heard) > 1  # what is above full scale, a mix needs
