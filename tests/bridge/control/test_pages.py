"""Status in pages: no guest's cards are lost behind those of others, however much they report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xenpvaudio.control import client
from xenpvaudio.control.server import ControlServer
from xenpvaudio.engine.report import PAGE_STREAMS, Card, cards_report
from xenpvaudio.errors import ConfigError, UnavailableError

GUESTS, STREAMS = 200, 32
HONEST = 999
# Quoted by a guest, each character of it is twelve bytes of JSON.
FAT = {"last_error": "\U0001f600" * 64, "volume_db": [0.0] * 64, "muted": [False] * 64}


def card(domid: int, streams: int, made: list[int]) -> Card:
    def report() -> dict[str, Any]:
        made.append(domid)
        return {"peer_domain": domid, "streams": [FAT] * streams}

    return (domid, "0"), streams, report


def crowd(made: list[int] | None = None) -> list[Card]:
    """Hostile guests, and an honest one that comes after all of them."""
    hostile = [card(domid, STREAMS, made or []) for domid in range(GUESTS)]
    return [card(HONEST, 2, made or []), *reversed(hostile)]


def asked(path: Path, answer: Callable[[dict[str, Any]], Any], ask: Callable[[Path], Any]) -> Any:
    """What `ask` gets from a half that answers so."""

    async def run() -> Any:
        server = ControlServer(path, {"status": lambda question, _user: answer(question)})
        await server.start()
        try:
            return await asyncio.to_thread(ask, path)
        finally:
            server.close()

    return asyncio.run(run())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "xen-pv-audio-backend-0.sock"


def test_an_honest_guests_entry_is_not_lost_behind_those_of_200_others(path: Path) -> None:
    def answer(question: dict[str, Any]) -> Any:
        return {"half": "backend", **cards_report(crowd(), question)}

    whole = asked(path, answer, client.status)
    assert [found["peer_domain"] for found in whole["cards"]] == [*range(GUESTS), HONEST]
    assert set(whole) == {"half", "cards"}
    with pytest.raises(UnavailableError, match="the answer is none"):  # cut, in one piece
        asked(path, answer, lambda path: client.ask(path, {"ask": "status"}))


def test_a_page_makes_only_its_own_reports() -> None:
    made: list[int] = []
    cards = [card(domid, STREAMS, made) for domid in range(GUESTS)]
    page = cards_report(cards, {"after": [10, "0"]})
    assert made == list(range(11, 11 + PAGE_STREAMS // STREAMS))
    assert page["more"] == [made[-1], "0"]


@pytest.mark.parametrize(
    ("streams", "pages"),
    [
        ([1, 1, 1], [[0, 1, 2]]),
        ([PAGE_STREAMS, 0, 1], [[0, 1], [2]]),
        ([PAGE_STREAMS - 1, 2, 1], [[0], [1, 2]]),
        ([4 * PAGE_STREAMS, 1], [[0], [1]]),
        ([], [[]]),
    ],
)
def test_each_card_is_on_one_page(streams: list[int], pages: list[list[int]]) -> None:
    cards = [card(domid, count, []) for domid, count in enumerate(streams)]
    found, after = [], None
    while not found or after is not None:
        page = cards_report(cards, {"after": after})
        found.append([entry["peer_domain"] for entry in page["cards"]])
        after = page.get("more")
    assert found == pages


def test_a_card_that_is_gone_meanwhile_loses_no_other() -> None:
    page = cards_report([card(domid, PAGE_STREAMS, []) for domid in (1, 3, 4)], {"after": [2, "0"]})
    assert page["cards"][0]["peer_domain"] == 3


def test_who_asks_for_no_page_gets_all(path: Path) -> None:
    """A command of an earlier version; and a half of one ignores what it does not know."""
    cards = [card(domid, PAGE_STREAMS, []) for domid in range(3)]
    assert len(cards_report(cards, {})["cards"]) == 3
    whole = asked(path, lambda _question: cards_report(cards, {}), client.status)
    assert len(whole["cards"]) == 3


@pytest.mark.parametrize("after", [{"a": 1}, "x", [[]], ["x", 1], 7])
def test_what_is_no_cards_key_is_an_error(after: Any) -> None:
    with pytest.raises(ConfigError, match="no card's key"):
        cards_report(crowd(), {"after": after})


@pytest.mark.parametrize("answer", [[], {}, {"cards": 7}, {"cards": [], "more": [1]}])
def test_pages_that_are_none_or_have_no_end_are_one_line(path: Path, answer: Any) -> None:
    with pytest.raises(UnavailableError, match=r"is none|has no end"):
        asked(
            path,
            lambda _question: dict(answer) if isinstance(answer, dict) else answer,
            client.status,
        )
