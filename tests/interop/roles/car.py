"""An infotainment guest with the card of packaging/xl/automotive.cfg, and who is linked to whom."""

from __future__ import annotations

import re
import subprocess
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interop.sound import RATE, write_noise
from xenpvaudio.testbed.graph_dump import of_kind
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import graph
from xenpvaudio.toolstack.specification import parse_specification

ROOT = Path(__file__).resolve().parents[3]
PACKAGING = ROOT / "packaging"
MEDIA, NAVIGATION, TELEPHONE = (f"xenpv_sink.0.{pcm}.0" for pcm in range(3))
MICROPHONE = "xenpv_source.0.2.1"
ROLES = ("music", "navi", "phone")
OLD_FILE = "policy.lua.d/60-xen-pv-audio-roles.lua"
NEW_FILE = "wireplumber.conf.d/60-xen-pv-audio-roles.conf"
CARD = """\
context.objects = [
  { factory = adapter
    args = {
      factory.name = support.null-audio-sink
      node.name = card
      node.group = card
      media.class = Audio/Sink
      audio.channels = 2
      priority.driver = 1000
      priority.session = 1
    }
  }
]
stream.rules = [
  {
    matches = [ { node.name = recording-loudspeaker } ]
    actions = { update-props = { node.group = card } }
  }
]
"""
"""Drives the host's graph as a sound card does. Without one, a role's node drives, whichever
WirePlumber made first; if it is the one that is played to, sound leaves a quantum later, which
PipeWire tells nobody."""
POLICY = f"[default]\nmicrophone = true\nroles = [{', '.join(map(repr, ROLES))}]\n"


def car_nodes() -> dict[str, str]:
    path = PACKAGING / "xl" / "automotive.cfg"
    (card,) = parse_specification(path.read_text(encoding="utf-8"), path.name)
    return card.nodes


def old_wireplumber() -> bool:
    """Whether it is 0.4, which is configured in Lua."""
    said = subprocess.run(["wireplumber", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"libwireplumber (\d+)\.(\d+)", said.stdout)
    assert found, said.stdout
    return (int(found[1]), int(found[2])) < (0, 5)


def host_configuration() -> dict[str, str]:
    """The shipped file for the version that is here, by its name in WirePlumber's folder."""
    folder, ending = (
        ("policy.lua.d", "lua") if old_wireplumber() else ("wireplumber.conf.d", "conf")
    )
    name = f"{folder}/60-xen-pv-audio-roles.{ending}"
    return {name: (PACKAGING / "wireplumber" / name).read_text(encoding="utf-8")}


def linked(session: PipeWireSession, name: str) -> set[str]:
    """The names of the nodes that the node of this name is linked to."""
    objects = graph(session)
    names = {
        node["id"]: str(node["info"]["props"].get("node.name", ""))
        for node in of_kind(objects, "Node")
    }
    found = set()
    for link in objects:
        if link.get("type") == "PipeWire:Interface:Link":
            ends = [names.get(link["info"][f"{end}-node-id"], "") for end in ("output", "input")]
            if name in ends:
                found |= set(ends) - {name}
    return found


def steady(path: Path, level: float, seconds: float) -> Path:
    """A file of this level, so that what is heard tells by how much it was turned down."""
    samples = array("f", [level]) * int(2 * RATE * seconds)
    return write_noise(path, samples, 2)


@contextmanager
def application(
    session: PipeWireSession, name: str, role: str, file: Path
) -> Iterator[subprocess.Popen[Any]]:
    """Plays in a role until the context is left; it chooses no device."""
    command = ["pw-play", "--media-role", role, "-P", f"{{ node.name = {name} }}", str(file)]
    process = session.popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
