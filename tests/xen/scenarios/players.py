"""Players that go on until they are told to stop: nobody has to know how long a thing takes.

The emulator's speed is not known: what is to happen "while it plays" would else come too late on a
machine with other work. Nothing is lost of the check: what was heard is the part, over and over,
as many times as the player says that it began it.
"""

from __future__ import annotations

from collections.abc import Callable

import frames
from dom0 import ScenarioError, expect, wait_until
from guest import Guest

FILES = "/tmp/enough /tmp/rounds"
STARTS_AT_MOST = 3

# What Linux says when it gives a player up: since 6.6 it waits 1.1 buffers for a position.
GAVE_UP = "timeout (DMA or IRQ trouble?)"
# What aplay says if a stream cannot be opened; Linux waits 3 s for an answer (xen_snd_front.c).
NO_OPEN = "Unable to install hw params"

LONG_FILE = """
import wave
part = bytearray(open("{path}", "rb").read())
file = wave.open("/tmp/long.wav", "wb")
file.setparams((2, 2, {rate}, 0, "NONE", ""))
for number in range({rate} * 4 * 240 // len(part)):
    if {mark_rounds}:
        part[2::4] = bytes([{first_mark} + number]) * (len(part) // 4)
    file.writeframes(part)
"""


class Endless:
    """Plays a raw file of a guest by aplay, again and again without a gap. `options`: aplay's."""

    def __init__(self, guest: Guest, options: str, path: str = "/tmp/part.raw") -> None:
        self._guest = guest
        guest.must(f"rm -f {FILES}; touch /tmp/rounds")
        self.ident = guest.console.start(
            "set -o pipefail; while [ ! -e /tmp/enough ]; do"
            f" echo >> /tmp/rounds; cat {path} || break; done | aplay {options} -"
        )

    def until(self, true: Callable[[], bool], what: str) -> None:
        until(self._guest, self.ident, true, what)

    def stop(self, timeout_sec: float = 120) -> tuple[int, int]:
        """How many times it played the whole file, and its underruns. GuestError if it has failed,
        ScenarioError if it had ended by itself."""
        return stop(self._guest, self.ident, timeout_sec)


class EndlessPipeWire:
    """The same by pw-play, as long as any scenario takes: one file with the part over and over, so
    that the session manager has no pause in which it suspends the sink."""

    def __init__(
        self,
        guest: Guest,
        command: str,
        rate: int,
        path: str = "/tmp/part.raw",
        *,
        mark_rounds: bool = False,
    ) -> None:
        """`command`: what plays the file that is put behind it. `mark_rounds`: no two rounds are
        alike, as in parts.marked()."""
        self._guest = guest
        made = LONG_FILE.format(
            rate=rate, path=path, mark_rounds=mark_rounds, first_mark=frames.FIRST_MARK
        )
        guest.must(f"python3 - <<'END'\n{made}END")
        self.ident = guest.console.start(
            f"{command} /tmp/long.wav & echo $! > /tmp/player.pid; wait $!"
        )

    def until(self, true: Callable[[], bool], what: str) -> None:
        until(self._guest, self.ident, true, what)

    def stop(self) -> None:
        """ScenarioError if it had ended by itself."""
        by_itself = self._guest.console.ended(self.ident)
        self.kill()
        expect(not by_itself, "pw-play had ended before it was told to")

    def kill(self) -> None:
        self._guest.run("kill $(cat /tmp/player.pid)")
        self._guest.console.result(self.ident, 120)


def times_given_up(guest: Guest) -> int:
    """How often its Linux has said so; the first call asks it to say it at all."""
    ask = f"echo 'format \"{GAVE_UP}\" +p' > /proc/dynamic_debug/control"
    return int(guest.must(f"{ask}; dmesg | grep -cF '{GAVE_UP}' || true").split()[-1])


def sounding(
    guest: Guest, options: str, sounds: Callable[[], bool], log: Callable[[], str]
) -> tuple[Endless, list[str]]:
    """An Endless that is heard, and what there is to tell. Started again if its OPEN had no answer
    within Linux's time, which a busy machine's emulator may need; `log`, the backend's, shows that
    nothing was refused."""
    for left in reversed(range(STARTS_AT_MOST)):
        player = Endless(guest, options)
        try:
            player.until(sounds, f"{guest.name}'s sound")
        except ScenarioError as error:
            lines = log().splitlines()
            refused = any(f"({guest.name})" in line and "refused" in line for line in lines)
            if not left or refused or NO_OPEN not in str(error):
                raise
            print(f"  {guest.name} is started again: {error}", flush=True)
        else:
            starts = STARTS_AT_MOST - left
            return player, [f"started {starts} times"] if starts > 1 else []
    raise AssertionError("the last start returns or raises")


def until(guest: Guest, ident: str, true: Callable[[], bool], what: str) -> None:
    """Waits for what the player brings about; ScenarioError with its words if it ends before."""
    wait_until(lambda: true() or guest.console.ended(ident), what)
    if not true():
        done = guest.console.result(ident, 1)
        raise ScenarioError(
            f"{what}: the player has ended, status {done.status}: {done.output[-900:]}"
        )


def stop(guest: Guest, ident: str, timeout_sec: float) -> tuple[int, int]:
    by_itself = guest.console.ended(ident)
    guest.must("touch /tmp/enough")
    done = guest.console.result(ident, timeout_sec)
    expect(done.status == 0, f"the player: status {done.status}: {done.output[-300:]}")
    expect(not by_itself, f"the player had ended before it was told to: {done.output[-300:]}")
    return int(guest.must("wc -l < /tmp/rounds")), done.output.count("underrun")
