"""Changes by modules that are loaded into the guest's PipeWire and unloaded again.

Whatever carries sound from a device's source to its sink does so on the right channel, which is
silent: it joins both in one graph and adds nothing to what is heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from subprocess import DEVNULL, PIPE

from interop.changes.change import Make, add, change
from interop.changes.clients import native_play, running, start
from interop.changes.place import DEVICES, RATE, Device, Place
from interop.sound import eventually, run_client
from xenpvaudio.testbed import find_node


def wait_for(place: Place, name: str) -> None:
    eventually(lambda: find_node(place.guest, name), f"no {name} appeared")


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


@change("module-echo-cancel, used", hold_sec=2.0, rest_sec=2.0)
@contextmanager
def _echo_cancel(place: Place) -> Iterator[None]:
    """Loaded between both ends of the device, and used by a recorder and a silent player."""
    loaded = []
    with ExitStack() as stack:
        for number, device in enumerate(DEVICES):
            ends = [f"source_master={device.pulse_source}", f"sink_master={device.sink}"]
            names = [f"source_name=ec-source-{number}", f"sink_name=ec-sink-{number}"]
            module = ["module-echo-cancel", *ends, *names]
            loaded.append(run_client(place.guest, "pactl", "load-module", *module).strip())
        for number, _ in enumerate(DEVICES):
            for end in ("source", "sink"):
                wait_for(place, f"ec-{end}-{number}")
            file = str(place.folder / f"ec-{number}.wav")
            taker = start(place, {}, "pw-record", "--target", f"ec-source-{number}", file)
            giver = ["pw-play", "--target", f"ec-sink-{number}", str(place.silence[RATE])]
            stack.enter_context(running([taker, start(place, {}, *giver)]))
        yield
    for module_id in loaded:
        run_client(place.guest, "pactl", "unload-module", module_id)


_FILTER = """
load-module libpipewire-module-filter-chain {{
  node.description = "filter {number}"
  filter.graph = {{ nodes = [ {{ type = builtin label = bq_lowpass name = low
                               control = {{ Freq = 900.0 Q = 0.7 }} }} ] }}
  audio.channels = 2 audio.position = [ FL FR ]
  capture.props = {{ node.name = filter-{number} media.class = Audio/Sink }}
  playback.props = {{ node.name = filter-out-{number} target.object = {sink} }}
}}
"""


@change("filter-chain, used", hold_sec=1.5)
@contextmanager
def _filter_chain(place: Place) -> Iterator[None]:
    """A sink before the device's, and a silent player that uses it."""
    with ExitStack() as stack:
        keeper = stack.enter_context(place.guest.popen(["pw-cli"], stdin=PIPE, stdout=DEVNULL))
        assert keeper.stdin is not None
        for number, device in enumerate(DEVICES):
            text = _FILTER.format(number=number, sink=device.sink)
            keeper.stdin.write((" ".join(text.split()) + "\n").encode())
            keeper.stdin.flush()
        stack.callback(keeper.kill)
        for number, device in enumerate(DEVICES):
            name = f"filter-{number}"
            wait_for(place, name)
            filtered = Device(device.name, name, name, True, "monitor")
            stack.enter_context(running([native_play(place, filtered, 512)]))
        yield
