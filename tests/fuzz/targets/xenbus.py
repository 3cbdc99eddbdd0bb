"""Both halves' devices on the simulated hypervisor while a guest, and the other domain, write what
they like into a card's directories, at any moment.

Invariant: no event ends in an error that nobody foresaw; whatever is written, the device of a
domain that is gone is forgotten, with nothing of it mapped, bound or open; and an honest guest
beside it stays connected throughout and is answered.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import logging
import os
import socket
import tempfile
from collections.abc import Awaitable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from bridge.halves.crowd import Crowd
from fuzz.targets.card import KEYS, PREFIXES, VALUES
from waiting import wait_for
from xenpvaudio.errors import internal_error
from xenpvaudio.sndif import packets
from xenpvaudio.sndif.hwparams import from_stream_config
from xenpvaudio.xen.api import XenStoreError
from xenpvaudio.xen.real.xs_link import Op
from xenpvaudio.xen.sim import xenstored
from xenpvaudio.xen.sim.paths import XENSTORE, socket_path
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xen.sim.toolstack import Toolstack
from xenpvaudio.xenbus import device
from xenpvaudio.xenbus.states import XenbusState

T = TypeVar("T")
HONEST = 1
STEPS = 20
STATES = (
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "-1",
    "",
    "x",
    "99999999999",
    "4\x00",
    "\u0664",
)
OTHERS = (
    "frontend",
    "frontend-id",
    "online",
    "versions",
    "unavailable-streams",
    "hotplug-status",
    "backend",
    "backend-id",
)
PATHS = ("/", "/local/domain/0", "device/vsnd/0", "../..", "/local/domain/0/backend/vsnd/1/0")
PERMS = (("n{0}",), ("n{0}", "r0"), ("n{0}", "n0"), ("b{0}",), ("n{0}", "w0", "r1"))


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class World:
    """What all examples of a process share: the hypervisor, a backend, an honest guest."""

    def __init__(self) -> None:
        self.strange: list[str] = []
        self.broken = False
        self.domids = itertools.count(HONEST + 1)
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.strange.append(str(context)))
        self._stack = contextlib.ExitStack()
        directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="xpa-fuzz-"))
        self.sim = os.path.join(directory, "xen")
        self._stack.enter_context(start_hypervisor(self.sim))
        self.tools = self._stack.enter_context(Toolstack(self.sim))
        self.writer = Hand(self.sim, 0)
        self._stack.callback(self.writer.close)
        self.crowd = self.run(self._begin(self.sim))
        device.internal_error = self._unforeseen  # type: ignore[attr-defined]
        log = logging.getLogger("xenpvaudio")
        self._stack.callback(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL)
        self.descriptors = _descriptors()
        self.mapped = self._held()

    async def _begin(self, sim: str) -> Crowd:
        crowd = Crowd(sim, self.tools)
        crowd.backend.run()
        await crowd.newcomer(HONEST)
        return crowd

    def _unforeseen(self, where: str, error: BaseException) -> Any:
        found = internal_error(where, error)
        self.strange.append(str(found))
        unforeseen.append(str(found))
        return found

    def _held(self) -> tuple[int, int]:
        """What the backend's domain has mapped and bound."""
        host = self.crowd.host
        return len(host.grants.live._things), len(host.channels._live._things)

    def run(self, body: Awaitable[T]) -> T:
        async def wrapped() -> T:
            return await body

        return self.loop.run_until_complete(wrapped())

    async def check(self) -> None:
        """Nothing strange happened, nothing is left, and the honest guest is served."""
        assert self.strange == []
        await wait_for(lambda: len(self.crowd.backend.devices) == 1)
        await wait_for(lambda: self._held() == self.mapped)
        await wait_for(lambda: _descriptors() <= self.descriptors)
        assert self.crowd.front(HONEST).state is XenbusState.CONNECTED
        stream = self.crowd.front(HONEST).streams()[0]
        assert stream.link is not None
        query = packets.QueryRequest(0, from_stream_config(stream.config))
        assert (await stream.link.ask(query)).status == 0

    def close(self) -> None:
        self.run(self.crowd.close())
        device.internal_error = internal_error  # type: ignore[attr-defined]
        self._stack.close()
        self.loop.close()


_worlds: list[World] = []
unforeseen: list[str] = []
"""Errors of that kind, for who asks what was found."""
_mutations = itertools.count()


def world() -> World:
    """After an example that found something, another one: what is found again is found anew."""
    if _worlds and (_worlds[0].strange or _worlds[0].broken):
        with contextlib.suppress(Exception):
            close()
    if not _worlds:
        _worlds.append(World())
    return _worlds[0]


@atexit.register
def close() -> None:
    while _worlds:
        _worlds.pop().close()


def _below(paths: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(str.__add__, st.sampled_from(PREFIXES), paths)


NODES = st.one_of(
    _below(st.sampled_from(KEYS)),
    st.sampled_from(("state", *OTHERS)),
    st.text("0123456789abc-_@/", min_size=1, max_size=12),
)
WRITTEN = st.one_of(st.sampled_from(VALUES), st.sampled_from(STATES), st.text(max_size=20))


class Hand:
    """A connection to XenStore by which many nodes are written before the first answer is read:
    what waits for each costs ten times as much, and gives the other end time for each."""

    def __init__(self, directory: str, domid: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(socket_path(directory, domid, XENSTORE))

    def write(self, nodes: list[tuple[str, str]]) -> None:
        """Whether it may does not matter."""
        messages = []
        for path, value in nodes:
            next(_mutations)
            body = (path.replace("\0", "") + "\0" + value).encode("utf-8", "surrogateescape")
            messages.append(xenstored.HEADER.pack(Op.WRITE, 0, 0, len(body)) + body)
        self._socket.sendall(b"".join(messages))
        unread = b""
        for _ in messages:
            while len(unread) < (end := _message_bytes(unread)):
                unread += self._socket.recv(65536) or _gone()
            unread = unread[end:]

    def close(self) -> None:
        self._socket.close()


def _message_bytes(data: bytes) -> int:
    """How long the first one is, as far as that is known."""
    header = xenstored.HEADER
    return header.size + (header.unpack_from(data)[3] if len(data) >= header.size else 0)


def _gone() -> bytes:
    raise AssertionError("XenStore has closed a connection on which only writes came")


class Machine(RuleBasedStateMachine):
    """One guest's card from its making to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.world = world()
        self.domid = next(self.world.domids)
        self.started = False
        self.world.run(self._create())
        self.hand = self.world.crowd.hand(self.domid)
        self.writer = Hand(self.world.sim, self.domid)
        self.front = f"/local/domain/{self.domid}/device/vsnd/0"
        self.back = f"/local/domain/0/backend/vsnd/{self.domid}/0"

    async def _create(self) -> None:
        self.guest = self.world.crowd.create(self.domid)

    def _write(self, hand: Hand, directory: str, nodes: list[tuple[str, str]]) -> None:
        hand.write([(f"{directory}/{path}", value.replace("\0", "")) for path, value in nodes])
        self._turn(1)

    def _turn(self, turns: int) -> None:
        async def turn() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.world.run(turn())
        assert self.world.strange == []

    @rule(nodes=st.lists(st.tuples(NODES, WRITTEN), max_size=24))
    def guest_writes(self, nodes: list[tuple[str, str]]) -> None:
        self._write(self.writer, self.front, nodes)

    @rule(
        nodes=st.lists(st.tuples(NODES, WRITTEN), min_size=1, max_size=16),
        times=st.integers(2, 20),
    )
    def guest_writes_again(self, nodes: list[tuple[str, str]], times: int) -> None:
        """Faster than the device's pace."""
        for _ in range(times):
            self._write(self.writer, self.front, nodes)

    @rule(states=st.lists(st.sampled_from(STATES), min_size=1, max_size=24), turns=st.booleans())
    def guest_flaps(self, states: list[str], turns: bool) -> None:
        for state in states:
            self._write(self.writer, self.front, [("state", state)])
            if turns:
                self._turn(20)

    @rule(nodes=st.lists(st.tuples(st.sampled_from(("state", *OTHERS)), WRITTEN), max_size=8))
    def other_end_writes(self, nodes: list[tuple[str, str]]) -> None:
        self._write(self.world.writer, self.back, nodes)

    @rule(path=st.one_of(NODES, st.sampled_from(PATHS)))
    def guest_removes(self, path: str) -> None:
        next(_mutations)
        with contextlib.suppress(XenStoreError):
            self.hand.remove(path if path in PATHS else f"{self.front}/{path}")
        self._turn(1)

    @rule(
        path=st.sampled_from(("", "/state", "/0", "/0/0", "/0/0/ring-ref")),
        perms=st.sampled_from(PERMS),
    )
    def guest_hides(self, path: str, perms: tuple[str, ...]) -> None:
        next(_mutations)
        with contextlib.suppress(XenStoreError):
            self.hand.set_perms(self.front + path, [perm.format(self.domid) for perm in perms])
        self._turn(1)

    @rule()
    def card_is_made_anew(self) -> None:
        self.world.tools.attach_vsnd(self.domid, 0, {"0/0/type": "p"})
        self._turn(5)

    @rule()
    def driver_starts(self) -> None:
        async def start() -> None:
            self.world.crowd.start(self.guest)

        if not self.started:
            self.started = True
            self.world.run(start())

    @rule(turns=st.integers(1, 60))
    def time_passes(self, turns: int) -> None:
        self._turn(turns)

    def teardown(self) -> None:
        self.world.run(self._end())

    async def _end(self) -> None:
        """The domain is destroyed, as `xl destroy` does; then its program ends too."""
        self.world.broken = True
        crowd, tools = self.world.crowd, self.world.tools
        tools.destroy_domain(self.domid, detach=False)
        with contextlib.suppress(XenStoreError):
            tools.store.remove(f"/local/domain/0/backend/vsnd/{self.domid}")
        if self.started:
            frontend = crowd._frontends.pop(self.domid)
            await frontend.stop()
            crowd._engines.pop().close()
        self.writer.close()
        crowd._hands.remove(self.hand)
        self.hand.close()
        crowd.domains.remove(self.guest)
        self.guest.grants.assert_cleaned_up()
        self.guest.channels.assert_cleaned_up()
        self.guest.close()
        await self.world.check()
        self.world.broken = False


def drive(number: int, examples: int, shrinks: bool = True) -> int:
    """So many examples from this seed; how many mutations they were. Raises what broke."""
    phases = (Phase.generate, Phase.shrink) if shrinks else (Phase.generate,)
    chosen = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    before = next(_mutations)
    run_state_machine_as_test(seed(number)(Machine), settings=chosen)
    return next(_mutations) - before - 1
