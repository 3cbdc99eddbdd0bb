"""Changes by clients that come and go: at each device one, of the same kind, at the same time.

Those that play, play silence: the noise that is listened to stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from signal import SIGINT
from subprocess import DEVNULL, Popen
from typing import Any

from interop.changes.change import Make, add, change
from interop.changes.place import DEVICES, OURS, RATE, THEIRS, Device, Place
from interop.sound import LIMIT_SEC

MONITOR = {"PIPEWIRE_PROPS": "{ stream.capture.sink = true }"}


def start(place: Place, env: dict[str, str], *command: str) -> Popen[Any]:
    return place.guest.popen(command, env=env, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)


def end(processes: Sequence[Popen[Any]]) -> None:
    for process in processes:
        process.send_signal(SIGINT)
    for process in processes:
        process.wait(LIMIT_SEC)


@contextmanager
def running(processes: Sequence[Popen[Any]]) -> Iterator[None]:
    """Clients that must still be there when they are told to end."""
    yield
    ended = [process.args for process in processes if process.poll() is not None]
    end(processes)
    assert not ended, f"ended before their time: {ended}"


def native_record(
    place: Place, device: Device, frames: int, *, rate: int = RATE, monitor: bool = False
) -> Popen[Any]:
    target = device.sink if monitor else device.source
    return start(
        place,
        MONITOR if monitor else device.capture_env,
        *("pw-record", "--target", target, "--latency", str(frames), "--rate", str(rate)),
        str(place.folder / f"{device.sink}-{frames}-{rate}.wav"),
    )


def native_play(place: Place, device: Device, frames: int, *, rate: int = RATE) -> Popen[Any]:
    file = str(place.silence[rate])
    return start(place, {}, "pw-play", "--target", device.sink, "--latency", str(frames), file)


def pulse_record(place: Place, device: Device) -> Popen[Any]:
    file = str(place.folder / f"{device.sink}-pulse.wav")
    form = ["--latency-msec=10", "--file-format=wav"]
    return start(place, {}, "parecord", "-d", device.pulse_source, *form, file)


def pulse_play(place: Place, device: Device) -> Popen[Any]:
    file = str(place.silence[RATE])
    return start(place, {}, "paplay", "-d", device.sink, "--latency-msec=10", file)


_ALSA = ["--period-size=256", "--buffer-size=1024", "-q"]


def alsa_record(place: Place, device: Device) -> Popen[Any]:
    pcm = f"pipewire:NODE={device.source}"
    file = str(place.folder / f"{device.sink}-alsa.wav")
    return start(place, device.capture_env, "arecord", "-D", pcm, "-f", "dat", *_ALSA, file)


def alsa_play(place: Place, device: Device) -> Popen[Any]:
    pcm = f"pipewire:NODE={device.sink}"
    return start(place, {}, "aplay", "-D", pcm, *_ALSA, str(place.silence[RATE]))


def _each(client: Any, *args: Any, **options: Any) -> Make:
    @contextmanager
    def make(place: Place) -> Iterator[None]:
        with running([client(place, device, *args, **options) for device in DEVICES]):
            yield

    return make


for size in (64, 256, 2048):
    add(f"pw-record, {size} frames", _each(native_record, size))
    add(f"pw-play, {size} frames", _each(native_play, size))
add("pw-record of the monitor, 256 frames", _each(native_record, 256, monitor=True))
add("parecord, 10 ms", _each(pulse_record))
add("paplay, 10 ms", _each(pulse_play))
add("arecord, 256 frames", _each(alsa_record))
add("aplay, 256 frames", _each(alsa_play))


@change("three recorders, one after the other", hold_sec=0.8)
@contextmanager
def _three_recorders(place: Place) -> Iterator[None]:
    with ExitStack() as stack:
        for frames in (512, 256, 128):
            clients = [native_record(place, device, frames) for device in DEVICES]
            stack.enter_context(running(clients))
        yield


@change("20 clients of four rates", hold_sec=2.5, rest_sec=1.5)
@contextmanager
def _twenty_clients(place: Place) -> Iterator[None]:
    sizes = (256, 512, 1024, 2048)
    clients = []
    for device in (OURS, THEIRS):
        for rate, frames in zip(place.silence, sizes, strict=True):
            clients.append(native_play(place, device, frames, rate=rate))
            clients.append(native_record(place, device, frames, rate=rate))
        clients.append(native_play(place, device, 256))
        clients.append(native_record(place, device, 512))
    with running(clients):
        yield
