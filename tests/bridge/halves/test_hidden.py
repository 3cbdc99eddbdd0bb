"""An end that may not read the other's nodes: its device stays, and it tries ever more rarely."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from bridge.halves.crowd import Crowd, run
from waiting import wait_for
from xenpvaudio.xenbus.backoff import LONGEST_HOLD_SEC
from xenpvaudio.xenbus.device import XenbusDevice
from xenpvaudio.xenbus.states import XenbusState

GUEST, DRIVER = 1, 9


def hurried(device: XenbusDevice, holds: list[float], state: XenbusState) -> None:
    """Notes how long the device would wait in `state`, and lets it wait hardly at all."""
    real = device.timer_sec

    def timer_sec(action_state: XenbusState) -> float:
        if action_state is state:
            holds.append(real(action_state))
        return 0.005

    device.timer_sec = timer_sec  # type: ignore[method-assign]


def test_a_guest_that_hides_its_nodes_is_offered_its_card_ever_more_rarely(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(crowd: Crowd) -> None:
        crowd.backend.run()
        await crowd.newcomer(GUEST)
        holds: list[float] = []
        device = crowd.back(GUEST)
        hurried(device, holds, XenbusState.CLOSED)
        hand = crowd.hand(GUEST)
        caplog.clear()
        hand.set_perms("device/vsnd/0/0/0", [f"n{GUEST}"])
        hand.write("device/vsnd/0/state", "1")
        await wait_for(lambda: len(holds) >= 8)
        assert crowd.back(GUEST) is device
        assert [line for line in caplog.messages if "found" in line or "gone" in line] == []
        assert len([line for line in caplog.messages if "hides its nodes" in line]) == 1
        assert holds[1:4] == [2 * holds[0], 4 * holds[0], 8 * holds[0]]
        assert holds[6] == holds[7] == LONGEST_HOLD_SEC
        hand.set_perms("device/vsnd/0/0/0", [f"n{GUEST}", f"r{DRIVER}"])
        await crowd.connected(GUEST)

    with caplog.at_level(logging.INFO):
        run(tmp_path, body, DRIVER)


def test_a_backend_that_hides_its_nodes_costs_the_guest_no_card_and_few_attempts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(crowd: Crowd) -> None:
        crowd.backend.run()
        await crowd.newcomer(GUEST)
        device, holds = crowd.front(GUEST), list[float]()
        hurried(device, holds, XenbusState.INITIALISING)
        store, directory = crowd.host.store, crowd.back(GUEST).directory
        caplog.clear()
        store.set_perms(f"{directory}/versions", ["n0"])
        store.write(f"{directory}/state", "2")
        await wait_for(lambda: len(holds) >= 7)
        assert crowd.front(GUEST) is device
        assert len([line for line in caplog.messages if "hides its nodes" in line]) == 1
        assert holds[-1] == LONGEST_HOLD_SEC
        assert holds == sorted(holds)
        store.set_perms(f"{directory}/versions", ["n0", f"r{GUEST}"])
        await crowd.connected(GUEST)

    with caplog.at_level(logging.INFO):
        run(tmp_path, body)
