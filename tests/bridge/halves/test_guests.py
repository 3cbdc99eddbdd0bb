"""What is counted against a guest is kept as long as the toolstack keeps its card, and no longer;
what honest cards need is far from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.halves.crowd import Crowd, run
from waiting import wait_for
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xenbus.pace import Pace
from xenpvaudio.xenbus.states import XenbusState

GUEST, OTHER = 1, 2
DIRECTORY = "device/vsnd/0"


def many(streams: int) -> dict[str, str]:
    """A card of so many playback streams, at most 16 a device."""
    nodes = {key: text for key, text in card_nodes().items() if not key.startswith("0/")}
    for number in range(streams):
        pcm, stream = divmod(number, 16)
        nodes[f"{pcm}/name"] = "Many"
        nodes |= {f"{pcm}/{stream}/type": "p", f"{pcm}/{stream}/unique-id": f"stream{number}"}
    return nodes


def test_a_guest_that_leaves_and_returns_has_spent_what_it_spent(tmp_path: Path) -> None:
    async def body(crowd: Crowd) -> None:
        crowd.backend.run()
        await crowd.newcomer(GUEST)
        guest = crowd.back(GUEST)._guest
        spent, budget = guest.pace._left, guest.budget
        crowd.front(GUEST)._peer_watch.cancel()  # type: ignore[union-attr]  # it answers no more
        hand = crowd.hand(GUEST)
        hand.write(f"{DIRECTORY}/state", "6")
        await wait_for(lambda: not crowd.back(GUEST).streams)
        hand.write(f"{DIRECTORY}/state", "1")
        await wait_for(lambda: crowd.back(GUEST).state is XenbusState.INIT_WAIT)
        again = crowd.back(GUEST)._guest
        assert again is guest and again.budget is budget
        assert crowd.backend._engine.budget(GUEST) is budget
        assert guest.pace._left < spent + 200 * 20

        # its own nodes gone: the card is found anew, and nothing is forgotten
        device = crowd.back(GUEST)
        hand.remove(DIRECTORY)
        await wait_for(lambda: device.finished.is_set() or device.idle)
        assert crowd.backend._guests.of(GUEST) is guest

    run(tmp_path, body)


def test_a_guest_that_the_toolstack_has_ended_is_forgotten(tmp_path: Path) -> None:
    async def body(crowd: Crowd) -> None:
        crowd.backend.run()
        crowd.create(GUEST)
        await wait_for(lambda: (GUEST, "0") in crowd.backend.devices)
        store = crowd.host.store
        store.write(f"backend/vsnd/{GUEST}/0/online", "0")
        store.remove(f"backend/vsnd/{GUEST}")
        await wait_for(lambda: (GUEST, "0") not in crowd.backend.devices)
        await wait_for(lambda: len(crowd.backend._guests) == 0)

    run(tmp_path, body)


@pytest.mark.parametrize(("cards", "streams"), [(1, 32), (8, 4)])
def test_the_largest_honest_guest_connects_without_a_wait(
    cards: int, streams: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[float] = []
    wait_sec = Pace.wait_sec

    def counted(pace: Pace, now_sec: float) -> float:
        held.append(wait_sec(pace, now_sec))
        return held[-1]

    monkeypatch.setattr(Pace, "wait_sec", counted)

    async def body(crowd: Crowd) -> None:
        crowd.backend.run()
        guest = crowd.create(GUEST, many(streams))
        for devid in range(1, cards):
            crowd.tools.attach_vsnd(GUEST, devid, many(streams))
        frontend = crowd.start(guest)
        await wait_for(
            lambda: (
                len(frontend.devices) == cards
                and all(d.state is XenbusState.CONNECTED for d in frontend.devices.values())
                and len(crowd.backend.devices) == cards
                and all(d.state is XenbusState.CONNECTED for d in crowd.backend.devices.values())
            )
        )
        left = crowd.back(GUEST)._guest.pace._left
        print(f"{cards} cards of {streams} streams: {left:.0f} requests are left")
        assert held and set(held) == {0.0}

    run(tmp_path, body)
