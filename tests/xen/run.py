"""`make xen-test`: all scenarios on the real hypervisor, in few boots.

    run.py [--suite bookworm] [--boot NAME]... [--without NAME]... [--only MODULE]...
           [--also SUITE:NAME]... [--budget-min N] [--jobs N] [--list]

One line a scenario as it ends; the last line is 'N passed, N failed'. Consoles, logs and XenStore
dumps stay in .cache/xen/out/<suite>/<boot>/. A machine that cannot run it says why:
'skipped: ...', status 0. --also adds a boot of another suite, in the same count and the same
budget; a machine that runs the first suite must be able to run that one, too. --budget-min bounds
the whole run: a boot that it cuts short, or for which no time is left, is a failure, since what was
not run is not known to work. --jobs boots so many machines beside each other: each has one
processor. A witness beside each boot tells how long the machine stood still at the longest.

A boot whose first failure is a wait that ran out is made once more if the budget lets it, and that
run counts; both are told. Nobody knows how fast an emulator is on a busy machine. Whatever else
came first is final, and so are frames that were heard wrong and tracebacks wherever they come.
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import debs
import lab
from images import CACHE, HERE, SUITES, CannotRunError, Images, build

import project

sys.path.insert(0, str(HERE / "inside"))
sys.path.insert(0, str(HERE.parent))
from frames import DifferentError, heard_frames, samples

from witness import Witness


@dataclass(frozen=True, slots=True)
class Plan:
    """One boot: its modules of scenarios/ and scenarios/kernel/, and what the machine has."""

    name: str
    scenarios: tuple[str, ...]
    cpus: int = 1
    limit_sec: float = 600
    loudspeaker: bool = False
    alone: bool = False
    """Whatever --jobs says: a graph of PipeWire in an emulated guest needs a whole processor."""
    systemd: bool = False
    """It boots everything, and the project is installed by its Debian packages."""


# A boot needs 40 s before its first scenario.
SHORTEST_BOOT_SEC = 60.0

# Of those that are not alone the longest first: so --jobs machines end at about the same time.
PLANS = (
    Plan("kernel", ("kernel_front", "kernel_life"), limit_sec=900),
    Plan("bad", ("bad_input",), limit_sec=900),
    Plan("life", ("life",)),
    Plan("installed", ("installed",), limit_sec=900),
    Plan("tools", ("kernel_tools",)),
    Plan("quirks", ("kernel_quirks",)),
    Plan("formats", ("kernel_formats",)),
    Plan("loudspeaker", ("loudspeaker",), loudspeaker=True),
    Plan("ours", ("primitives", "our_front"), limit_sec=900, alone=True),
    Plan("two", ("two_guests",), limit_sec=900, alone=True),
    Plan("everyday", ("everyday",), limit_sec=900, alone=True),
    Plan("driver", ("driver_domain",), limit_sec=900, alone=True),
    Plan("kernelpw", ("kernel_pipewire",), alone=True),
    Plan("systemd", ("by_systemd",), cpus=2, limit_sec=900, alone=True, systemd=True),
)


# How a wait that ran out ends its scenario: dom0.wait_until, and guest.Console.
RAN_OUT = re.compile(r": not within \d+ s\b|did not end within \d+ s\b")
# No wait causes these: what frames.py and parts.py say of a recording, and a fault of the program.
FINAL = re.compile(r"\bframes?\b|\bbytes more\b|one round after the other|traceback", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ended:
    """A boot's end. `failures`: their lines."""

    passed: int
    failed: int
    failures: tuple[str, ...] = ()
    wall_sec: float = 0.0

    @property
    def ran_out(self) -> bool:
        return (
            bool(self.failures)
            and RAN_OUT.search(self.failures[0]) is not None
            and not any(FINAL.search(line) for line in self.failures)
        )


def run_plan(plan: Plan, images: Images, files: Path, out: Path) -> Ended:
    """One boot; that it does not come to its end is one more failure."""
    started = time.monotonic()

    def show(result: str) -> None:
        where = f"{images.suite} {plan.name}"
        print(f"{result} [{where} {time.monotonic() - started:.0f} s]", flush=True)

    done = lab.boot(
        images,
        files,
        plan.scenarios,
        out,
        limit_sec=plan.limit_sec,
        cpus=plan.cpus,
        loudspeaker=out / "loudspeaker.wav" if plan.loudspeaker else None,
        on_result=show,
    )
    if plan.loudspeaker:
        done.results.append(heard(out / "loudspeaker.wav"))
        show(done.results[-1])
    failures = [line for line in done.results if not line.startswith("PASS ")]
    failed = len(failures)
    if done.status is None or not done.results:
        failed += 1
        show(f"FAIL {plan.name} did not come to its end, see {out}/console.log")
    elif done.status and not failed:
        failed += 1
        show(f"FAIL {plan.name} ended with status {done.status}, see {out}/console.log")
    print(f"boot {plan.name}: {done.wall_sec:.0f} s, logs in {out}", flush=True)
    passed = len(done.results) - len(failures)
    return Ended(passed, failed, tuple(failures), done.wall_sec)


def run_boot(of: Set, plan: Plan, until: float, more: str = "") -> Ended:
    """A boot that must end before `until` of the monotonic clock. `more`: to its logs' name."""
    try:
        images, tar = of.ready()
        files = debs.packages(images) if plan.systemd else tar
    except CannotRunError as error:
        print(f"FAIL boot {plan.name}: not run, no {of.suite}: {error}", flush=True)
        return Ended(0, 1)
    left_sec = until - time.monotonic()
    if left_sec < SHORTEST_BOOT_SEC:
        print(f"FAIL boot {plan.name}: not run, no time is left for it", flush=True)
        return Ended(0, 1)
    plan = replace(plan, limit_sec=min(plan.limit_sec, left_sec))
    with Witness() as witness:
        ended = run_plan(plan, images, files, CACHE / "out" / of.suite / (plan.name + more))
    stall_msec = witness.saw.worst_nsec / 1e6
    print(f"boot {plan.name}: the machine's longest stall was {stall_msec:.0f} ms", flush=True)
    return ended


def once_more(of: Set, plan: Plan, ended: Ended, until: float) -> Ended:
    """What counts of a boot: itself, or another if a wait ran out and there is time for one."""
    left_sec = until - time.monotonic()
    if not ended.ran_out or left_sec < ended.wall_sec:
        return ended
    print(f"run again: {of.suite} {plan.name}: {ended.failures[0]}", flush=True)
    return run_boot(of, plan, until, "-again")


class Set:
    """One suite, made ready once."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self._ready: tuple[Images, Path] | CannotRunError | None = None
        self._lock = threading.Lock()

    def ready(self) -> tuple[Images, Path]:
        """The images and the project's tar; CannotRunError, each time, if they cannot be made."""
        with self._lock:
            return self._made()

    def _made(self) -> tuple[Images, Path]:
        if self._ready is None:
            started = time.monotonic()
            try:
                images = build(self.suite)
                self._ready = images, project.install(images)
            except CannotRunError as error:
                self._ready = error
            else:
                print(
                    f"{self.suite}, Linux {images.kernel}, Xen {images.xen_version}: ready after "
                    f"{time.monotonic() - started:.0f} s",
                    flush=True,
                )
        if isinstance(self._ready, CannotRunError):
            raise self._ready
        return self._ready


def make_ready(sets: Mapping[str, Set]) -> dict[str, Future[tuple[Images, Path]]]:
    """All at once: most of it is waiting for the mirror, and for one processor."""
    with ThreadPoolExecutor(len(sets)) as pool:
        return {suite: pool.submit(of.ready) for suite, of in sets.items()}


def also(text: str) -> tuple[str, Plan]:
    """--also's argument. Newer kernels are slower under emulation: each runs alone."""
    suite, _, name = text.partition(":")
    plans = [plan for plan in PLANS if plan.name == name]
    if suite not in SUITES or not plans:
        raise argparse.ArgumentTypeError(f"{text} is not SUITE:BOOT")
    return suite, replace(plans[0], alone=True)


def heard(recording: Path) -> str:
    """The result line for what an emulated sound card played."""
    name = "host.loudspeaker_is_heard_outside"
    try:
        figure = heard_frames(samples(recording.read_bytes()), lab.numbered_frames(lab.FRAMES))
        return f"PASS {name} {figure}"
    except (OSError, DifferentError) as error:
        return f"FAIL {name} {error}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="scenarios on a real, emulated Xen")
    parser.add_argument("--suite", default="bookworm", choices=SUITES)
    names = [plan.name for plan in PLANS]
    parser.add_argument("--boot", action="append", choices=names)
    parser.add_argument("--without", action="append", default=[], choices=names)
    parser.add_argument("--only", action="append", help="of the scenario modules, these")
    parser.add_argument("--also", action="append", default=[], type=also, metavar="SUITE:BOOT")
    parser.add_argument("--budget-min", type=float, default=float("inf"), metavar="N")
    parser.add_argument("--jobs", type=int, default=1, choices=range(1, 9), metavar="N")
    parser.add_argument("--list", action="store_true")
    chosen = parser.parse_args(arguments)
    plans = [plan for plan in PLANS if plan.name in (chosen.boot or names)]
    plans = [plan for plan in plans if plan.name not in chosen.without]
    if chosen.only:
        kept = [tuple(s for s in plan.scenarios if s in chosen.only) for plan in plans]
        plans = [replace(p, scenarios=k) for p, k in zip(plans, kept, strict=True) if k]
    sets = {suite: Set(suite) for suite in (chosen.suite, *(suite for suite, _ in chosen.also))}
    boots = [(sets[chosen.suite], plan) for plan in plans]
    boots += [(sets[suite], plan) for suite, plan in chosen.also]
    if chosen.list:
        for of, plan in boots:
            print(of.suite, plan.name, *plan.scenarios)
        return 0
    started = time.monotonic()
    try:
        lab.require_machine(len(sets))
        make_ready(sets)[chosen.suite].result()
    except CannotRunError as error:
        print(f"xen-test: skipped: {error}")
        return 0
    until = started + 60 * chosen.budget_min
    ends: list[Ended] = []
    done: list[tuple[Set, Plan]] = []
    for jobs, alone in ((chosen.jobs, False), (1, True)):
        with ThreadPoolExecutor(jobs) as pool:
            group = [boot for boot in boots if boot[1].alone == alone]
            ends += pool.map(lambda boot: run_boot(*boot, until), group)
            done += group
    # Not before all others were made: they come first if time is short.
    ends = [once_more(*boot, ended, until) for boot, ended in zip(done, ends, strict=True)]
    passed, failed = sum(ended.passed for ended in ends), sum(ended.failed for ended in ends)
    print(f"{passed} passed, {failed} failed in {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
