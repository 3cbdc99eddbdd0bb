"""A card that is unplugged while its nodes are being made leaves no descriptor behind in the
frontend, whatever the daemon had on its way."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.twin import Change, Twins
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio_native.pipewire import library_version

pytestmark = pytest.mark.skipif(shutil.which("pipewire") is None, reason="no PipeWire")

NO_LEAK_SINCE = (0, 3, 72)
NODES = 200
DESTROYS = Change(
    "node/node.c",
    "xpa_pw_leave_as_a_device(n->pw, n->stream, n->made_nsec)",
    "pw_stream_destroy(n->stream)",
)
# Prints how many more descriptors there are than before, after 2 s at the most.
PROGRAM = f"""
import os, time
from xenpvaudio_native.pipewire import GuestNode, Offer, Pipewire
from xenpvaudio_native.plane import Plane

def descriptors():
    return len(os.listdir("/proc/self/fd"))

pipewire = Pipewire(Plane(), "early end")
pipewire.connect()

def node(after_sec):
    node = GuestNode(pipewire, 1, False, {{"node.name": "early"}}, Offer([2], [48000], [2]))
    time.sleep(after_sec)
    node.free()

node(0.5)  # what PipeWire keeps once, for all
time.sleep(0.5)
before = descriptors()
for number in range({NODES}):
    node(number % 8 * 0.00005)  # the daemon's message takes some 0.2 ms
end = time.monotonic() + 2
while descriptors() > before and time.monotonic() < end:
    time.sleep(0.05)
print(descriptors() - before)
"""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[PipeWireSession]:
    with PipeWireSession(tmp_path / "session", wireplumber=False, pulse=False) as session:
        yield session


def kept(session: PipeWireSession, twin: dict[str, str]) -> int:
    env = {**session.env, **{key: twin[key] for key in ("PYTHONPATH",) if key in twin}}
    printed: str = subprocess.check_output([sys.executable, "-c", PROGRAM], env=env, text=True)
    return int(printed)


def test_nodes_that_end_while_they_begin_keep_no_descriptor(session: PipeWireSession) -> None:
    assert kept(session, {}) <= 0


@pytest.mark.skipif(library_version() >= NO_LEAK_SINCE, reason="this PipeWire closes them itself")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_nodes_that_are_simply_destroyed_keep_descriptors(
    session: PipeWireSession, tmp_path: Path
) -> None:
    assert kept(session, Twins(tmp_path).make("destroys", DESTROYS)) > 0
