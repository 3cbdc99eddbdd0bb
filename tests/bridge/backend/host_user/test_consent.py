"""Who is asked, how often, and what becomes of each answer; the asking is a function here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from xenpvaudio.backend.host_user.consent import (
    ALWAYS,
    DENY,
    MOST_QUESTIONS,
    MOST_UNANSWERED,
    ONCE,
    Asker,
    Consent,
)
from xenpvaudio.backend.host_user.orders import Order, Orders
from xenpvaudio.errors import UnavailableError

UUID = "6a9f0c1e-1111-4222-8333-444455556666"
WORK = Asker(UUID, 5, "work", lasting=True)
NO_UUID = Asker("domain 6", 6, "play", lasting=False)


class Desk:
    """A desktop with a patient user."""

    def __init__(self) -> None:
        self.questions: list[tuple[str, str, Mapping[str, str]]] = []
        self.answers: asyncio.Queue[str | UnavailableError] = asyncio.Queue()
        self.withdrawn = 0

    async def ask(self, title: str, text: str, buttons: Mapping[str, str]) -> str:
        self.questions.append((title, text, buttons))
        try:
            answer = await self.answers.get()
        except asyncio.CancelledError:
            self.withdrawn += 1
            raise
        if isinstance(answer, UnavailableError):
            raise answer
        return answer


Body = Callable[[Consent, Desk, Orders, list[str]], Awaitable[None]]


def asked(body: Body, file: Path | None = None) -> None:
    async def run() -> None:
        desk, orders, held = Desk(), Orders(file), list[str]()
        consent = Consent(orders, held.append, desk.ask)
        await body(consent, desk, orders, held)
        await consent.stop()

    asyncio.run(run())


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("said", "now", "later"),
    [(ONCE, True, None), (DENY, False, None), (ALWAYS, True, True)],
)
def test_an_answer_holds_at_once_and_as_long_as_it_says(
    said: str, now: bool, later: bool | None, tmp_path: Path
) -> None:
    async def body(consent: Consent, desk: Desk, orders: Orders, held: list[str]) -> None:
        consent.wanted(WORK)
        await turn()
        ((title, text, buttons),) = desk.questions
        assert "work" in title and "domain 5" in text and list(buttons) == [ONCE, ALWAYS, DENY]
        assert orders.of(UUID) == Order() and not held
        desk.answers.put_nowait(said)
        await turn()
        assert orders.of(UUID) == Order(microphone=now) and held == [UUID]
        orders.forget_number(5)  # the guest ends
        assert orders.of(UUID).microphone is later
        assert Orders(tmp_path / "orders").of(UUID).microphone is later

    asked(body, tmp_path / "orders")


def test_another_order_is_not_forgotten_with_the_guest() -> None:
    async def body(consent: Consent, desk: Desk, orders: Orders, _: list[str]) -> None:
        consent.wanted(WORK)
        desk.answers.put_nowait(ONCE)
        await turn()
        orders.give(UUID, Order(microphone=False), always=False)
        orders.forget_number(5)
        assert orders.of(UUID).microphone is False

    asked(body)


def test_a_guest_is_asked_for_once_at_a_time_and_three_times_in_vain() -> None:
    async def body(consent: Consent, desk: Desk, _orders: Orders, held: list[str]) -> None:
        for times in range(1, MOST_UNANSWERED + 3):
            for _ in range(100):
                consent.wanted(WORK)
            await turn()
            assert len(desk.questions) == min(times, MOST_UNANSWERED)
            if times <= MOST_UNANSWERED:
                desk.answers.put_nowait("")
                await turn()
        assert not held
        consent.forget(UUID)  # it is restarted
        consent.wanted(WORK)
        await turn()
        assert len(desk.questions) == MOST_UNANSWERED + 1

    asked(body)


def test_many_guests_get_few_questions_on_the_screen(caplog: pytest.LogCaptureFixture) -> None:
    async def body(consent: Consent, desk: Desk, _orders: Orders, _held: list[str]) -> None:
        for domid in range(1, 10):
            consent.wanted(Asker(f"domain {domid}", domid, f"guest{domid}", lasting=False))
        await turn()
        assert len(desk.questions) == MOST_QUESTIONS
        assert ALWAYS not in desk.questions[0][2]
        assert "`xen-pv-audio mic allow 9`" in caplog.text

    asked(body)


def test_a_guest_that_begins_again_and_again_while_others_are_asked_for_is_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    late = Asker("domain 9", 9, "guest9", lasting=False)

    def lines() -> int:
        return caplog.text.count("`xen-pv-audio mic allow 9`")

    async def body(consent: Consent, desk: Desk, _orders: Orders, _held: list[str]) -> None:
        for domid in range(MOST_QUESTIONS):
            consent.wanted(Asker(f"domain {domid}", domid, f"guest{domid}", lasting=False))
        for _ in range(1000):
            consent.wanted(late)
        await turn()
        assert len(desk.questions) == MOST_QUESTIONS and lines() == 1
        desk.answers.put_nowait(DENY)
        await turn()
        consent.wanted(late)
        await turn()
        assert len(desk.questions) == MOST_QUESTIONS + 1
        consent.withdraw(late.key)  # another one is asked for meanwhile
        consent.wanted(Asker("domain 8", 8, "guest8", lasting=False))
        consent.wanted(late)
        assert lines() == 2

    asked(body)


def test_an_order_given_meanwhile_takes_the_question_away() -> None:
    async def body(consent: Consent, desk: Desk, _orders: Orders, held: list[str]) -> None:
        consent.wanted(WORK)
        consent.wanted(NO_UUID)
        await turn()
        consent.withdraw(UUID)
        await turn()
        assert desk.withdrawn == 1 and not held
        consent.wanted(WORK)
        await turn()
        assert len(desk.questions) == 3

    asked(body)


def test_without_a_desktop_it_is_denied_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def body(consent: Consent, desk: Desk, orders: Orders, held: list[str]) -> None:
        for _ in range(10):
            consent.wanted(WORK)
            desk.answers.put_nowait(UnavailableError("notify-send: no bus"))
            await turn()
        assert orders.of(UUID) == Order() and not held
        lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        assert len(lines) == MOST_UNANSWERED
        assert "no bus" in lines[0] and "denied; `xen-pv-audio mic allow 5`" in lines[0]

    asked(body)


def test_always_that_cannot_be_written_holds_until_the_guest_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")

    async def body(consent: Consent, desk: Desk, orders: Orders, held: list[str]) -> None:
        orders.file = tmp_path / "file" / "orders"  # no directory
        consent.wanted(WORK)
        desk.answers.put_nowait(ALWAYS)
        await turn()
        assert orders.of(UUID).microphone is True and held == [UUID]
        assert "cannot write" in caplog.text
        orders.forget_number(5)
        assert orders.of(UUID).microphone is None

    asked(body)
