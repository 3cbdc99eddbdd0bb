"""A simulated machine with a real backend process in it, a real PipeWire behind that, an honest
guest that plays, and room for others: what each costs and loses is measured from outside.

All figures of a window come from the same run. Nothing here is of the guests' own making: silence
is counted in what the host's loudspeaker played, processor and memory are the kernel's words about
the backend's process, log lines are those in its log.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from xenpvaudio.sound.wav import write_wav
from xenpvaudio.testbed import pwconf
from xenpvaudio.testbed.loudspeaker import Loudspeaker
from xenpvaudio.testbed.session import PipeWireSession
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.connect import SIM_VARIABLE
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack

from .attacks import ATTACKS, attackers
from .busy import Busy
from .guest import Card

TESTS = Path(__file__).parents[1]
HONEST, FIRST_OTHER = 1, 2
RATE = 48000
PEER_LEVEL, PEER_RATE, PEER_SEC = 0.5, 8000, 900
_TICKS = os.sysconf("SC_CLK_TCK")


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """In which `python -m hostile...` is found, after what `env` puts first."""
    roots = [env.get("PYTHONPATH", ""), str(TESTS)]
    return {**env, "PYTHONPATH": os.pathsep.join(filter(None, roots))}


@dataclass(frozen=True, slots=True)
class Process:
    """What the kernel says of a process, since it began."""

    cpu_sec: float
    rss_mib: float
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Process:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(
            (int(fields[11]) + int(fields[12])) / _TICKS,
            pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20),
            len(os.listdir(f"/proc/{pid}/fd")),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """What a time was like for the honest guest, and what the backend spent on everybody."""

    seconds: float
    rate: float  # positions that were told, frames a second
    gap_sec: float  # between two events, the longest
    query_sec: float  # the slowest answer
    newcomer_sec: float  # from xl's first node until it is connected
    silent_frames: int
    peer_silent_frames: int  # of PipeWire's own client, which plays into the same graph
    cpu: float  # of one processor
    rss_mib: float  # at the end
    descriptors: int
    lines: int
    late_sec: float  # an ordinary process of this machine, at the worst

    @property
    def lines_per_sec(self) -> float:
        return self.lines / self.seconds


class Stage:
    """`env`: where Python finds another backend than ours; `policy`: the policy file's text."""

    def __init__(self, policy: str = "", env: Mapping[str, str] | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="xpa-hostile-"))
        self._policy = policy
        self._env = dict(os.environ if env is None else env)
        self._next_domid = FIRST_OTHER
        self._gone: list[int] = []

    def __enter__(self) -> Stage:
        fifo = self.directory / "loudspeaker"
        self.loudspeaker = Loudspeaker(fifo, 8, RATE)
        self.session = PipeWireSession(
            self.directory / "host",
            name="host",
            rate=RATE,
            quantum=1024,
            max_quantum=1024,
            pulse=False,
            fragments=[pwconf.pipe_sink(fifo, rate=RATE)],
        )
        self.backend: subprocess.Popen[bytes] | None = None
        self._honest: subprocess.Popen[str] | None = None
        self._peer: subprocess.Popen[bytes] | None = None
        try:
            self.session.start()
            self._hypervisor = start_hypervisor(self.sim)
            self.tools = Toolstack(self.sim)
            self.start_backend()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._honest is not None:
            self._honest.kill()
            self._honest.communicate()
        if self._peer is not None:
            self._peer.kill()
            self._peer.wait()
        if self.backend is not None and self.backend.poll() is None:
            self.backend.terminate()
            try:
                self.backend.wait(10)
            except subprocess.TimeoutExpired:
                self.backend.kill()
                self.backend.wait()
        if hasattr(self, "tools"):
            self.tools.close()
        if hasattr(self, "_hypervisor"):
            self._hypervisor.stop()
        self.session.stop()
        self.loudspeaker.stop()

    @property
    def sim(self) -> str:
        return str(self.directory / "xen")

    @property
    def log(self) -> Path:
        return self.directory / "backend.log"

    def start_backend(self) -> None:
        policy = self.directory / "policy.toml"
        policy.write_text(self._policy)
        env = {**self.session.env, **{k: self._env[k] for k in ("PYTHONPATH",) if k in self._env}}
        with self.log.open("ab") as log:
            self.backend = subprocess.Popen(
                [sys.executable, "-m", "xenpvaudio", "backend", "--policy", str(policy)],
                env={**env, SIM_VARIABLE: f"{self.sim}:0"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    # -- guests

    def guest(self, nodes: Mapping[str, str] | None = None) -> int:
        """A new domain's number, with a card and nobody in it yet."""
        domid = self._next_domid
        self._next_domid += 1
        self.tools.create_domain(domid, f"guest{domid}")
        self.tools.attach_vsnd(domid, 0, nodes or card_nodes())
        return domid

    def program(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """A guest as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", f"hostile.{module}", self.sim, *arguments],
            env=environment(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start_honest(self) -> None:
        self.tools.create_domain(HONEST, "honest")
        self.tools.attach_vsnd(HONEST, 0, card_nodes())
        self._honest = self.program("honest", str(HONEST))
        self.ask_honest()
        end = time.monotonic() + 20
        while (
            self.silent(max(0, self.loudspeaker.frames - RATE // 5))
            or self.loudspeaker.frames < RATE
        ):
            assert time.monotonic() < end, "the honest guest is not heard"
            time.sleep(0.05)
        self._start_peer()

    def _start_peer(self) -> None:
        """PipeWire's own client on the right channel alone, where it is louder than the guest."""
        path = self.directory / "peer.wav"
        frame = array.array("h", [0, round(PEER_LEVEL * 0x8000)]).tobytes()
        write_wav(path, PEER_RATE, 2, "s16", frame * (PEER_SEC * PEER_RATE))
        self._peer = subprocess.Popen(["pw-play", str(path)], env=self.session.env)
        end = time.monotonic() + 20
        while self.silent_right(max(0, self.loudspeaker.frames - RATE // 5)):
            assert time.monotonic() < end, "PipeWire's own client is not heard"
            time.sleep(0.05)

    def ask_honest(self) -> dict[str, float]:
        """Its window ends, and the next one begins."""
        assert self._honest is not None
        assert self._honest.stdin is not None
        assert self._honest.stdout is not None
        self._honest.stdin.write("\n")
        self._honest.stdin.flush()
        line = self._honest.stdout.readline()
        assert line, "the honest guest has ended"
        found: dict[str, float] = json.loads(line)
        return found

    def newcomer(self) -> float:
        """Seconds until a new guest is connected."""
        began = time.monotonic()
        domid = self.guest()
        card = Card(self.sim, domid)
        card.connect("0/0", "0/1")
        took = time.monotonic() - began
        card.domain.close()
        self._gone.append(domid)
        return took

    def forget_guests(self) -> None:
        """Ends those that have come and gone."""
        while self._gone:
            self.tools.destroy_domain(self._gone.pop())

    @contextlib.contextmanager
    def hostile(self, name: str, seconds: float) -> Iterator[Callable[[], int]]:
        """Guests of a row whose attacks begin now; what is given waits for their end and tells how
        often it was done by who did least. They are gone afterwards."""
        with contextlib.ExitStack() as stack:
            processes = [
                stack.enter_context(self._attacker(attack, seconds)) for attack in attackers(name)
            ]
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n", self.log.read_text()[-1000:]
            yield lambda: min(int(process.communicate()[0]) for process in processes)

    @contextlib.contextmanager
    def _attacker(self, attack: str, seconds: float) -> Iterator[subprocess.Popen[str]]:
        domid = self.guest(ATTACKS[attack].nodes)
        process = self.program("attacker", str(domid), attack, str(seconds))
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
            self.tools.destroy_domain(domid)

    def attack(self, name: str, seconds: float) -> int:
        """The whole of it."""
        with self.hostile(name, seconds) as done:
            return done()

    # -- looking

    def silent(self, first_frame: int) -> int:
        """Frames without sound that the loudspeaker played from `first_frame` on."""
        samples = array.array("f", self.loudspeaker.data(first_frame))[::2]
        return sum(1 for sample in samples if abs(sample) < 0.05)

    def silent_right(self, first_frame: int) -> int:
        """The same of PipeWire's own client, which the guest's sound does not hide."""
        samples = array.array("f", self.loudspeaker.data(first_frame))
        pairs = zip(samples[::2], samples[1::2], strict=True)
        return sum(1 for left, right in pairs if right - left < PEER_LEVEL / 2)

    def lines(self) -> int:
        return self.log.read_bytes().count(b"\n")

    def process(self) -> Process:
        assert self.backend is not None
        status = self.backend.poll()
        assert status is None, f"the backend ended, {status}: {self.log.read_text()[-2000:]}"
        return Process.of(self.backend.pid)

    def window(self, seconds: float) -> Window:
        """From now on."""
        self.ask_honest()
        first, lines, before = self.loudspeaker.frames, self.lines(), self.process()
        began = time.monotonic()
        with Busy() as busy:
            newcomer_sec = self.newcomer()
            time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        honest, after = self.ask_honest(), self.process()
        took = time.monotonic() - began
        return Window(
            took,
            honest["rate"],
            honest["gap_sec"],
            honest["query_sec"],
            newcomer_sec,
            self.silent(first),
            self.silent_right(first),
            (after.cpu_sec - before.cpu_sec) / took,
            after.rss_mib,
            after.descriptors,
            self.lines() - lines,
            busy.late_sec,
        )
