"""The rooms of the sources, in order, and who may use whom (test_boundaries.py)."""

from __future__ import annotations

# Room: what it may import, beside itself and `errors`. A name stands for all below it; a file
# belongs to the longest name that fits. Whoever is named comes first.
PYTHON_ROOMS = {
    "logs": "",
    "errors": "logs.quoting",
    "native": "",
    "sound": "",
    "toml_file": "",
    "config": "logs.quoting toml_file",
    "sndif": "native.header logs.quoting",
    "xen": "native.ffi native.lib",
    "xen.real": "xen.api xen.native xen.pages",
    "xen.sim": "xen.api xen.devices xen.native xen.pages xen.real",
    "xen.connect": "xen",
    "xenbus": "sndif xen.api native.header logs",
    "engine": "sndif native logs",
    "frontend": "engine xenbus sndif xen.api config toml_file native logs",
    "backend": "engine xenbus sndif xen.api config native sound logs",
    "testbed": "xen sndif native sound",
    "measure": "testbed sound config",
    "control": "xen xenbus sndif config frontend.settings_file logs testbed.graph_dump "
    "testbed.alsa.files",
    "aec": "frontend control logs sndif testbed.graph_dump testbed.keeper testbed.pwconf",
    "service": "",
    "toolstack": "xen sndif logs",
    "top": "aec frontend backend engine testbed measure control service toolstack xen sndif config "
    "logs native.privilege",
}
TOP = tuple(
    f"xenpvaudio.{name}" for name in ("__main__", "cli", "usage", "daemon", "instance_lock")
)

# In order: each includes only those before it, and these never each other.
C_ROOMS = [
    *("abi", "base", "xen", "time", "plane", "front", "back"),
    *("relay", "pulse", "alsa", "pcm", "pipewire", "card", "node", "ioplug"),
]
C_OUTPUTS = ("relay", "pulse", "alsa")
C_APART = (
    *({"front", "back"}, {"node", "back"}, {"card", "front"}, {"card", "back"}, {"pulse", "alsa"}),
    *({output, other} for output in C_OUTPUTS for other in ("front", "pipewire", "card", "node")),
    *({"pcm", other} for other in ("back", "relay", "pulse", "alsa", "pipewire", "card", "node")),
    # a library of its own, in another process
    *({"ioplug", other} for other in C_ROOMS if other not in ("abi", "pcm", "ioplug")),
)
# System headers: by the rooms that may include what begins so.
C_LIBRARIES = {
    "pipewire/": ("pipewire", "card", "node"),
    "spa/": ("pipewire", "card", "node"),
    "pulse/": ("pulse",),
    "alsa/": ("alsa", "ioplug"),
}

# Values in, values out: no I/O, no clock, no threads.
PURE = (
    "errors",
    "logs.quoting",
    "logs.limiter",
    "logs.stand_still",
    "sndif",
    "xenbus.states",
    "xenbus.versions",
    "xenbus.backoff",
    "xenbus.pace",
    "xen.real.waits",
    "backend.open_pace",
    "backend.resampling",
    "frontend.roles",
    "testbed.graph_dump",
    "control.finding",
    "control.status.lines",
    "control.status.metrics",
    "frontend.figures",
    "frontend.xruns",
    "service.summary",
    "aec.configuration",
    "toolstack.specification",
)
# fmt: off
IMPURE = {
    "asyncio", "fcntl", "io", "logging", "mmap", "multiprocessing", "os", "pathlib", "random",
    "select", "selectors", "shutil", "signal", "socket", "subprocess", "tempfile", "threading",
    "time",
}
# fmt: on
THIRD_PARTY = {
    "pyxs": ("xen.real",),
    "cffi": (),
    "numpy": ("measure",),
    "matplotlib": ("measure",),
    "rich": ("control",),
    "pulsectl": ("control",),
}
# They and Xen's public headers define the same names: never both in one file.
KERNEL_HEADERS = {"xen/evtchn.h", "xen/gntalloc.h", "xen/gntdev.h", "xen/privcmd.h"}
