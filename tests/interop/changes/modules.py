"""Changes by modules that are loaded into the guest's PipeWire and unloaded again.

Whatever carries sound from a device's source to its sink does so on the right channel, which is
silent: it joins both in one graph and adds nothing to what is heard. Echo canceller and filter are
processes of their own, as PipeWire's documentation has it (`pipewire -c filter-chain.conf`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from subprocess import Popen
from typing import Any

from interop.changes.change import Make, add, change
from interop.changes.clients import native_play, running, start
from interop.changes.place import DEVICES, Device, Place
from interop.sound import eventually, run_client
from xenpvaudio.testbed.testbed import find_node


def _pulse_module(arguments: Callable[[Device], list[str]]) -> Make:
    @contextmanager
    def make(place: Place) -> Iterator[None]:
        loaded = [
            run_client(place.guest, "pactl", "load-module", *arguments(device)).strip()
            for device in DEVICES
        ]
        yield
        for number in loaded:
            run_client(place.guest, "pactl", "unload-module", number)

    return make


def _loopback(device: Device) -> list[str]:
    ends = [f"source={device.pulse_source}", f"sink={device.sink}"]
    form = ["channels=1", "channel_map=front-right", "remix=false", "latency_msec=20"]
    return ["module-loopback", *ends, *form]


def _null_sink(device: Device) -> list[str]:
    return ["module-null-sink", f"sink_name=null-{device.sink}"]


add("module-loopback from source to sink", _pulse_module(_loopback))
add("module-null-sink", _pulse_module(_null_sink))


_PROCESS = """
context.properties = {{ log.level = 2 }}
context.spa-libs = {{
  audio.convert.* = audioconvert/libspa-audioconvert
  support.* = support/libspa-support
}}
context.modules = [
  {{ name = libpipewire-module-rt flags = [ ifexists nofail ] }}
  {{ name = libpipewire-module-protocol-native }}
  {{ name = libpipewire-module-client-node }}
  {{ name = libpipewire-module-adapter }}
  {{ name = {module} args = {{ audio.channels = 2 audio.position = [ FL FR ] {arguments} }} }}
]
"""
_CANCELLER = """
  library.name = aec/libspa-aec-null
  capture.props = {{ node.name = ec-capture-{number} target.object = {source} {monitor} }}
  source.props = {{ node.name = ec-source-{number} }}
  sink.props = {{ node.name = ec-sink-{number} }}
  playback.props = {{ node.name = ec-playback-{number} target.object = {sink} }}
"""
_FILTER = """
  filter.graph = {{ nodes = [ {{ type = builtin label = bq_lowpass name = low
                               control = {{ Freq = 900.0 Q = 0.7 }} }} ] }}
  capture.props = {{ node.name = filter-{number} media.class = Audio/Sink }}
  playback.props = {{ node.name = filter-out-{number} target.object = {sink} }}
"""


def _processes(place: Place, module: str, arguments: str) -> list[Popen[Any]]:
    """One a device."""
    started = []
    for number, device in enumerate(DEVICES):
        text = arguments.format(
            number=number,
            sink=device.sink,
            source=device.source,
            monitor="stream.capture.sink = true" if device.monitor else "",
        )
        file = place.folder / f"{module}-{number}.conf"
        file.write_text(_PROCESS.format(module=f"libpipewire-module-{module}", arguments=text))
        started.append(start(place, {}, "pipewire", "-c", str(file)))
    return started


def _through(number: int) -> Device:
    """The canceller's two ends, or the filter's."""
    return Device("", f"ec-sink-{number}", f"ec-source-{number}", False, "capture")


def _wait_for(place: Place, name: str) -> None:
    eventually(lambda: find_node(place.guest, name), f"no {name} appeared")


@change("module-echo-cancel, used", hold_sec=2.0, rest_sec=2.0)
@contextmanager
def _echo_cancel(place: Place) -> Iterator[None]:
    """Between both ends of the device, used by a recorder and a silent player."""
    with running(_processes(place, "echo-cancel", _CANCELLER)), ExitStack() as stack:
        for number, _ in enumerate(DEVICES):
            through = _through(number)
            _wait_for(place, through.sink)
            _wait_for(place, through.source)
            file = str(place.folder / f"ec-{number}.wav")
            taker = start(place, {}, "pw-record", "--target", through.source, file)
            stack.enter_context(running([taker, native_play(place, through, 1024)]))
        yield


@change("filter-chain, used", hold_sec=1.5)
@contextmanager
def _filter_chain(place: Place) -> Iterator[None]:
    """A sink before the device's, and a silent player that uses it."""
    with running(_processes(place, "filter-chain", _FILTER)), ExitStack() as stack:
        for number, device in enumerate(DEVICES):
            filtered = Device(device.name, f"filter-{number}", "", True, "monitor")
            _wait_for(place, filtered.sink)
            stack.enter_context(running([native_play(place, filtered, 512)]))
        yield
