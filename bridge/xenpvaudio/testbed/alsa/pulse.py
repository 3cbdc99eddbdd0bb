"""A PulseAudio daemon in a guest without PipeWire, with the sink and the source that
packaging/pulse makes of the device `xenpv`."""

from __future__ import annotations

import subprocess
import time
from types import TracebackType
from typing import Any, Self

from xenpvaudio.errors import UnavailableError
from xenpvaudio.testbed.machine import APPEAR_SEC, POLL_SEC, end

from .bed import AlsaBed
from .files import pulse_script

PROGRAM = "pulseaudio"
SINK, SOURCE = "xenpv_sink", "xenpv_source"
# Where sndif's channels are (sound/channels.py), in PulseAudio's words (pulse/channelmap.c), which
# has another order for a device of six or eight.
_PLACES = (
    *("front-left", "front-right", "rear-left", "rear-right"),
    *("front-center", "lfe", "side-left", "side-right"),
)


class PulseAudio:
    """A context manager, in a bed that is up. `env` is for the daemon's clients; `idle_sec`: how
    long a sink that nobody uses keeps the stream."""

    def __init__(self, bed: AlsaBed, *, idle_sec: int = 5) -> None:
        self._bed = bed
        self._runtime = bed.directory / "pulse"
        self._runtime.mkdir(mode=0o700, exist_ok=True)
        native = self._runtime / "native"
        self._script = bed.directory / "default.pa"
        self._script.write_text(
            f"load-module module-native-protocol-unix auth-anonymous=1 socket={native}\n"
            f"load-module module-suspend-on-idle timeout={idle_sec}\n.include {pulse_script()}\n"
        )
        self._configuration = bed.directory / "daemon.conf"
        places = "mono" if bed.channels == 1 else ",".join(_PLACES[: bed.channels])
        self._configuration.write_text(  # with default-sample-channels it forgets the map
            f"default-sample-rate = {bed.rate}\ndefault-channel-map = {places}\n"
        )
        self.env = bed.env | {"PULSE_SERVER": f"unix:{native}"}
        self._process: subprocess.Popen[Any] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when the sink is there."""
        no_bus = f"unix:path={self._runtime}/no-bus"
        environ = self._bed.env | {
            "XDG_RUNTIME_DIR": str(self._runtime),
            "PULSE_RUNTIME_PATH": str(self._runtime),
            "PULSE_CONFIG": str(self._configuration),
            # else it takes its name on the bus of whoever runs this
            "DBUS_SESSION_BUS_ADDRESS": no_bus,
            "DBUS_SYSTEM_BUS_ADDRESS": no_bus,
        }
        options = ("--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "-vv")
        with (self._bed.directory / "pulse.log").open("ab") as log:
            self._process = self._bed.popen(
                *(PROGRAM, "-n", *options, "--log-target=stderr", "-F", str(self._script)),
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + APPEAR_SEC
        while SINK not in self.sinks():
            self._bed.check()
            self.check()
            if time.monotonic() > deadline:
                raise UnavailableError(f"{PROGRAM} made no sink: {self._last_line()}")
            time.sleep(POLL_SEC)

    def check(self) -> None:
        """UnavailableError with the last line of a daemon that has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise UnavailableError(f"{PROGRAM} ended: {self._last_line()}")

    def _last_line(self) -> str:
        lines = self._bed.log("pulse").strip().splitlines()
        return lines[-1].strip() if lines else "its log is empty"

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[Any]:
        """A client, ended with the guest at the latest."""
        return self._bed.popen(*command, env=self.env, **options)

    def sinks(self) -> str:
        """What pactl says of them; nothing while the daemon does not answer."""
        done = subprocess.run(
            ["pactl", "list", "sinks"], env=self.env, capture_output=True, text=True, check=False
        )
        return done.stdout

    def stop(self) -> None:
        end(self._process)
