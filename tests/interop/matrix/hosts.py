"""The kinds of host, each with the same sound card: speaker.py's, which writes down what it plays
and when that was heard, and knows when each frame was at its microphone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interop.outputs.hearing import HEARD
from interop.outputs.pulseaudio import PulseAudio
from interop.outputs.speaker import RATE, Speaker, configuration
from xenpvaudio.testbed.session import PipeWireSession

KINDS = ("pipewire", "pulse", "alsa")
QUANTUM = 1024
_SERVERS = ("PULSE_", "PIPEWIRE_", "XDG_RUNTIME_DIR", "DBUS_", "ALSA_")
# With room for a server that a busy machine lets wait.
_PULSE_MODULES = (
    "module-alsa-sink device=speaker sink_name=speaker tsched=0 format=float32le rate=48000 "
    "channels=2 fragments=4 fragment_size=4096",
    "module-alsa-source device=speaker source_name=microphone tsched=0 format=float32le rate=48000 "
    "channels=2 fragments=16 fragment_size=4096",
)


@dataclass(frozen=True)
class Host:
    """`environ`: where its backend runs; `output`: that backend's."""

    kind: str
    speaker: Speaker
    environ: Mapping[str, str]
    output: str


def _pipewire_node(way: str, media_class: str) -> str:
    """A fragment: the card as a node of PipeWire's own for ALSA."""
    return f"""
context.objects = [
  {{ factory = adapter args = {{
      factory.name = api.alsa.pcm.{way}
      node.name = card-{way}
      media.class = {media_class}
      api.alsa.path = speaker
      audio.format = F32LE
      audio.rate = {RATE}
      audio.channels = 2
      audio.position = [ FL FR ]
      session.suspend-timeout-seconds = 0
      object.linger = true }} }}
]
"""


@contextmanager
def host(kind: str, folder: Path) -> Iterator[Host]:
    """In that folder, which is empty."""
    if kind == "pulse":
        speaker = Speaker(folder, heard=HEARD)
        with PulseAudio(folder, _PULSE_MODULES, configuration(folder, speaker)) as pulse:
            yield Host(kind, speaker, pulse.env, "pulse")
        return
    kept = {key: text for key, text in os.environ.items() if not key.startswith(_SERVERS)}
    if kind == "alsa":
        speaker = Speaker(folder, heard=HEARD)
        yield Host(kind, speaker, kept | configuration(folder, speaker), "alsa:plug:speaker")
        return
    # PipeWire's node asks ALSA how much is in the buffer, and not what comes after it
    speaker = Speaker(folder, heard=HEARD, latency_frames=0)
    # a private session takes no variable of alsa-lib's over, and has a home of its own
    home = folder / "session" / "home"
    home.mkdir(parents=True)
    (home / ".asoundrc").write_text(speaker.text)
    with PipeWireSession(
        folder / "session",
        name="host",
        rate=RATE,
        quantum=QUANTUM,
        max_quantum=QUANTUM,
        fragments=[_pipewire_node("sink", "Audio/Sink"), _pipewire_node("source", "Audio/Source")],
    ) as session:
        yield Host(kind, speaker, session.env, "pipewire")
