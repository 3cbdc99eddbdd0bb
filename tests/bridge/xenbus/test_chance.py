"""Hours of both ends' tables on a simulated clock, with their real timers and backoffs, while
things go wrong at random: a half dies and returns, an error ends a connection, references are
stale, events come late or anew. What must hold: no event is one for which a table has no cell, the
nodes of a frontend that lives stay, and a while after a fault both ends are connected over the same
rings.

Each run is a seed's, and the same one each time.
"""

from __future__ import annotations

import random

import pytest

from bridge.xenbus.two_ends import End, World
from xenpvaudio.xenbus import states as xenbus
from xenpvaudio.xenbus.backoff import LONGEST_HOLD_SEC, Backoff
from xenpvaudio.xenbus.states import BACKEND, FRONTEND, Action, Event, Local, XenbusState

HOURS = 2
STEP_SEC = 0.02
LATE_SEC = 0.2
# A hold may be at its longest, and the handshake after it fail once more.
WHOLE_SEC = 2 * LONGEST_HOLD_SEC + 5


class TimedEnd(End):
    """An end whose timers go off when they are due, as frontend/device.py and backend/device.py
    arm them."""

    def __init__(self, clock: Clock, table: xenbus.Table, world: World, back: bool) -> None:
        self.clock = clock
        self.back = back
        self.due_sec: float | None = None
        self.closing = Backoff(0.3 if back else 1.0)
        self.closed = Backoff(1.0)
        mine, theirs = world.front_node, world.back_node
        if back:
            mine, theirs = theirs, mine
        super().__init__(table, mine, theirs, world.shared)

    def _hold_sec(self, state: XenbusState) -> float:
        if not self.back:
            return 1.0 if state is XenbusState.CLOSING else self.closing.hold_sec
        if state is XenbusState.CLOSING:
            return self.closing.hold_sec
        return self.closed.hold_sec if state is XenbusState.CLOSED else 0.5

    def feed(self, event: Event) -> None:
        before = len(self.steps)
        super().feed(event)
        now = self.clock.now_sec
        for step in self.steps[before:]:
            for action in step.actions:
                if action in (Action.CONNECT, Action.ATTACH):
                    self.closing.connected(now)
                    self.closed.connected(now)
                elif action in (Action.DISCONNECT, Action.DETACH):
                    self.closing.ended(now)
                    self.closed.ended(now)
                elif action is Action.ARM_TIMER:
                    self.due_sec = now + self._hold_sec(step.next)
        del self.steps[:-8]
        if not self.timer:
            self.due_sec = None

    def expire(self) -> bool:
        if self.due_sec is None or self.due_sec > self.clock.now_sec:
            return False
        self.due_sec = None
        return super().expire()


class Clock(World):
    """Two ends in simulated time. `late`: an event may come up to LATE_SEC after its write."""

    def __init__(self, chance: random.Random, linux: bool, front: xenbus.Table) -> None:
        super().__init__("linux" if linux else "ours")
        self.chance = chance
        self.front_table = front
        self.now_sec = 0.0
        self.seen_at = {"front": 0.0, "back": 0.0}

    def start_front(self) -> None:
        if self.kinds[0] == "linux":
            super().start_front()
        else:
            self.front = TimedEnd(self, self.front_table, self, back=False)  # type: ignore[assignment]

    def start_back(self) -> None:
        self.back = TimedEnd(self, BACKEND, self, back=True)

    def pass_time(self, seconds: float) -> None:
        until = self.now_sec + seconds
        while self.now_sec < until:
            self.now_sec += STEP_SEC
            for name, end in (("front", self.front), ("back", self.back)):
                if end is None:
                    continue
                if self.now_sec >= self.seen_at[name] and end.theirs.fired:
                    self.seen_at[name] = self.now_sec + self.chance.random() * LATE_SEC
                    end.watch()
                end.expire()

    # -- what goes wrong

    def kill_front(self) -> None:
        self.front = None
        self.pass_time(self.chance.random() * 5)
        self.start_front()

    def kill_back(self) -> None:
        self.back = None
        self.pass_time(self.chance.random() * 5)
        self.start_back()

    def kill_both(self) -> None:
        self.front = None
        self.kill_back()
        self.start_front()

    def stop_back(self) -> None:
        assert self.back is not None
        self.back.feed(Local.STOP)
        self.kill_back()

    def error_of_the_front(self) -> None:
        if isinstance(self.front, End):
            self.front.feed(Local.ERROR)

    def error_of_the_back(self) -> None:
        assert self.back is not None
        if self.back.own is not XenbusState.CLOSED:
            self.back.feed(Local.ERROR)

    def front_seems_dead(self) -> None:
        assert self.back is not None
        if self.back.own is XenbusState.CONNECTED:
            self.back.feed(Local.GONE)

    def stale_references(self) -> None:
        """The next ones that are published cannot be mapped."""
        self.shared["stale"] = self.shared.get("next", 0) + 1
        self.kill_back()

    def store_comes_back(self) -> None:
        """All watches fire anew."""
        self.front_node.fired = self.back_node.fired = True


FAULTS = (
    Clock.kill_front,
    Clock.kill_back,
    Clock.kill_both,
    Clock.stop_back,
    Clock.error_of_the_front,
    Clock.error_of_the_back,
    Clock.front_seems_dead,
    Clock.stale_references,
    Clock.store_comes_back,
)


def run(
    seed: int, hours: float, linux: bool = False, front: xenbus.Table = FRONTEND
) -> list[tuple[float, str]]:
    """The faults and their times; AssertionError with seed, time and what was before it."""
    chance = random.Random(seed)
    world = Clock(chance, linux, front)
    world.start_front()
    world.start_back()
    world.pass_time(WHOLE_SEC)
    history: list[tuple[float, str]] = []
    while world.now_sec < hours * 3600:
        names = []
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            fault = chance.choice(FAULTS)
            front = world.front
            names.append(fault.__name__)
            history.append((world.now_sec, fault.__name__))
            fault(world)
            world.pass_time(chance.random())
            if isinstance(front, End) and front is world.front:
                unregistered = any(Action.UNREGISTER in step.actions for step in front.steps)
                assert not unregistered, (seed, world.now_sec, names)
        world.pass_time(WHOLE_SEC)
        assert world.connected(), (seed, world.now_sec, names)
    return history


@pytest.mark.parametrize("linux", [False, True], ids=["ours", "linux"])
@pytest.mark.parametrize("seed", [1, 2])
def test_random_faults_are_survived_for_hours(seed: int, linux: bool) -> None:
    history = run(seed, HOURS, linux)
    print(f"{len(history)} faults in {HOURS} simulated hours")
    assert {name for _, name in history} == {fault.__name__ for fault in FAULTS}


def test_the_same_seed_has_the_same_faults() -> None:
    assert run(7, 0.5) == run(7, 0.5)
    assert run(7, 0.5) != run(8, 0.5)


def test_a_table_that_misses_the_peer_s_return_is_caught() -> None:
    idle = xenbus.Step((), XenbusState.CONNECTED)
    row = {**FRONTEND[XenbusState.CONNECTED], XenbusState.INIT_WAIT: idle}
    with pytest.raises(AssertionError, match="False = connected"):
        run(1, HOURS, front={**FRONTEND, XenbusState.CONNECTED: row})
