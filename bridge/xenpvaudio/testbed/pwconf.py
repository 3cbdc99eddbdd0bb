"""Configuration text for a private PipeWire session: clock limits, loudspeakers, no hardware; and
for `pipewire -c`.

Pure: each function returns a file's content in SPA-JSON, the language of PipeWire's files.
What differs between PipeWire 0.3.65 and later, or WirePlumber 0.4 and 0.5, is written in both ways;
each version ignores what it does not know.
"""

from __future__ import annotations

import json
import os

POSITIONS = {
    1: ("MONO",),
    2: ("FL", "FR"),
    4: ("FL", "FR", "RL", "RR"),
    6: ("FL", "FR", "FC", "LFE", "RL", "RR"),
    8: ("FL", "FR", "FC", "LFE", "RL", "RR", "SL", "SR"),
}

# No hardware, no Bluetooth (WirePlumber 0.4 ends itself when that part finds no logind).
WIREPLUMBER_FILES = {
    # 0.4: Lua; a file shadows the system's file of the same name.
    "main.lua.d/51-private.lua": """\
alsa_monitor.enabled = false
v4l2_monitor.enabled = false
libcamera_monitor.enabled = false
""",
    "bluetooth.lua.d/90-enable-all.lua": "",
    # 0.5: profiles.
    "wireplumber.conf.d/50-private.conf": """\
wireplumber.profiles = {
  main = {
    hardware.audio = disabled
    hardware.bluetooth = disabled
    hardware.video-capture = disabled
    support.logind = disabled
    support.reserve-device = disabled
  }
}
""",
}


def quote(text: str) -> str:
    """`text` as a string of SPA-JSON, the language of PipeWire's configuration."""
    return json.dumps(text)


def client(modules: str) -> str:
    """A file for `pipewire -c`: a client of the running PipeWire with these modules in it."""
    return f"""\
context.properties = {{ log.level = 1 }}
context.spa-libs = {{
  audio.convert.* = audioconvert/libspa-audioconvert
  support.* = support/libspa-support
}}
context.modules = [
  {{ name = libpipewire-module-rt flags = [ ifexists nofail ] }}
  {{ name = libpipewire-module-protocol-native }}
  {{ name = libpipewire-module-client-node }}
  {{ name = libpipewire-module-adapter }}
{modules}]
"""


def _position(channels: int) -> str:
    return "[ " + " ".join(POSITIONS[channels]) + " ]"


def null_sink(
    name: str = "null-loudspeaker", *, description: str = "Null loudspeaker", channels: int = 2
) -> str:
    """A fragment: a sink that plays to nobody, clocked by the system timer; its monitor records."""
    return f"""\
context.objects = [
  {{ factory = adapter
    args = {{
      factory.name = support.null-audio-sink
      node.name = {quote(name)}
      node.description = {quote(description)}
      media.class = Audio/Sink
      object.linger = true
      audio.channels = {channels}
      audio.position = {_position(channels)}
      monitor.channel-volumes = false
    }}
  }}
]
"""


def pipe_sink(
    fifo: str | os.PathLike[str],
    name: str = "recording-loudspeaker",
    *,
    description: str = "Recording loudspeaker",
    sample_format: str = "F32",
    rate: int = 48000,
    channels: int = 2,
) -> str:
    """A fragment: a sink that writes its interleaved samples to `fifo`, which must exist.

    PipeWire opens the FIFO for reading and writing, and drops what does not fit: read it, and give
    it room (F_SETPIPE_SZ), before anything plays. `sample_format` is PipeWire's name (S16, S32, F32
    ...).
    """
    return f"""\
context.modules = [
  {{ name = libpipewire-module-pipe-tunnel
    args = {{
      tunnel.mode = sink
      pipe.filename = {quote(os.fspath(fifo))}
      audio.format = {quote(sample_format)}
      audio.rate = {rate}
      audio.channels = {channels}
      audio.position = {_position(channels)}
      stream.props = {{
        node.name = {quote(name)}
        node.description = {quote(description)}
        media.class = Audio/Sink
      }}
    }}
  }}
]
"""


def clock(rate: int, quantum: int, min_quantum: int, max_quantum: int) -> str:
    """In a virtual machine PipeWire raises min-quantum to 1024; both ways to say so are overridden.

    0.3.65 has vm.overrides inside context.properties; later versions have a list of rules.
    """
    limits = f"default.clock.min-quantum = {min_quantum}"
    return f"""\
context.properties = {{
  default.clock.rate = {rate}
  default.clock.allowed-rates = [ {rate} ]
  default.clock.quantum = {quantum}
  {limits}
  default.clock.max-quantum = {max_quantum}
  default.clock.quantum-limit = {max(max_quantum, 8192)}
  vm.overrides = {{ {limits} }}
}}
context.properties.rules = [
  {{ matches = [ {{ cpu.vm.name = !null }} ], actions = {{ update-props = {{ {limits} }} }} }}
]
"""


def pulse_clock(rate: int, min_quantum: int) -> str:
    least = f"{min_quantum}/{rate}"
    return f"""\
pulse.properties = {{
  pulse.min.req = {least}
  pulse.min.quantum = {least}
  vm.overrides = {{ pulse.min.quantum = {least} }}
}}
pulse.properties.rules = [
  {{ matches = [ {{ cpu.vm.name = !null }} ]
     actions = {{ update-props = {{ pulse.min.quantum = {least} }} }} }}
]
"""
