"""The text that `pipewire -c` makes an echo canceller of, as a client of the running PipeWire.
Pure. Its settings: PipeWire's document of module-echo-cancel."""

from __future__ import annotations

from dataclasses import dataclass

from xenpvaudio.testbed.pwconf import client, quote

SINK, SOURCE = "xenpv_aec_sink", "xenpv_aec_source"
TITLE = "Xen PV Audio (echo cancelled)"
# PipeWire's WebRTC canceller works at this rate.
RATE_HZ = 48000
# Beside the delay: what the module itself takes when it is told nothing.
_ROOM_MSEC = 100


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the canceller plays and captures: node.name of each. `play_delay_frames`, at RATE_HZ:
    how much later than it is played a sound is captured, without the air between; None while that
    is not known, since not both of them run."""

    sink: str
    source: str
    play_delay_frames: int | None


def configuration(ends: Ends, play_delay_frames: int) -> str:
    """Passive streams: while no application uses the canceller, the card rests, and the host does
    not listen."""
    room_msec = _ROOM_MSEC + 1000 * play_delay_frames // RATE_HZ
    title = quote(TITLE)
    return client(f"""\
  {{ name = libpipewire-module-echo-cancel
    args = {{
      library.name = aec/libspa-aec-webrtc
      buffer.play_delay = {play_delay_frames}/{RATE_HZ}
      buffer.max_size = {room_msec}
      audio.rate = {RATE_HZ}
      audio.channels = 2
      audio.position = [ FL FR ]
      capture.props = {{
        node.name = xenpv_aec_capture
        target.object = {quote(ends.source)}
        node.passive = true
      }}
      source.props = {{ node.name = {SOURCE} node.description = {title} }}
      sink.props = {{ node.name = {SINK} node.description = {title} }}
      playback.props = {{
        node.name = xenpv_aec_playback
        target.object = {quote(ends.sink)}
        node.passive = true
      }}
    }}
  }}
""")
