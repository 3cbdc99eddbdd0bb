"""What a guest has in its directory is read as far as a card could need it, and no further."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from xenpvaudio.errors import ConfigError
from xenpvaudio.sndif.card import parse_card
from xenpvaudio.testbed.testbed import card_nodes
from xenpvaudio.xen.api import Txn
from xenpvaudio.xen.real.xenstore import PyxsStore, open_socket
from xenpvaudio.xen.sim.paths import XENSTORE, socket_path
from xenpvaudio.xen.sim.process import start_hypervisor
from xenpvaudio.xenbus.nodes import MAX_BYTES, TURN_REQUESTS, most_nodes, read_tree

CARD = "/card"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PyxsStore]:
    with start_hypervisor(tmp_path):
        store = open_socket(socket_path(str(tmp_path), 0, XENSTORE), call_soon=lambda *_: None)
        yield store
        store.close()


def put(store: PyxsStore, nodes: dict[str, str]) -> None:
    def write(tx: Txn) -> None:
        for path, value in nodes.items():
            tx.write(f"{CARD}/{path}", value)

    store.transact(write)


def read(store: PyxsStore, limit: int = most_nodes(32)) -> tuple[dict[str, str], int]:
    """The tree, and how many requests it took."""
    spent = [0]

    def spend(requests: int) -> None:
        spent[0] += requests

    nodes = asyncio.run(read_tree(store, CARD, spend, limit))
    return nodes, spent[0]


def test_a_card_is_read_as_it_was_written(store: PyxsStore) -> None:
    put(store, {**card_nodes(), "state": "1", "0/0/ring-ref": "8"})
    nodes, _requests = read(store)
    assert {**nodes} == {**card_nodes(), "state": "1", "0/0/ring-ref": "8"} | {
        "0": "",
        "0/0": "",
        "0/1": "",
    }
    assert len(list(parse_card(nodes).streams)) == 2


def test_nodes_that_are_none_of_sndif_s_cost_no_request_each(store: PyxsStore) -> None:
    put(store, card_nodes())
    plain = read(store)
    put(store, {f"junk{number}": "x" for number in range(300)})
    put(store, {f"0/0/1/{number}": "x" for number in range(100)})  # below a stream
    put(store, {f"{number}/type": "p" for number in (17, 99, 100, "00", "x")})  # no card has them
    assert read(store) == plain


def test_more_nodes_than_a_card_can_have_are_one_clear_error(store: PyxsStore) -> None:
    limit = most_nodes(32)
    put(store, {f"{number % 10}/junk{number}": "x" for number in range(limit + 1)})
    with pytest.raises(ConfigError, match=f"{CARD} has more than {limit} nodes; no sound card has"):
        read(store)
    assert limit < 976  # what xenstored's quota allows a guest


def test_a_card_with_all_that_policy_allows_is_within_the_limits(store: PyxsStore) -> None:
    settings = ("channels-min", "channels-max", "sample-rates", "sample-formats", "buffer-size")
    transport = ("ring-ref", "event-channel", "evt-ring-ref", "evt-event-channel")
    nodes = {"state": "4", "backend": "x", "backend-id": "0", "short-name": "s", "long-name": "l"}
    for device in range(16):
        nodes |= {f"{device}/{key}": "1" for key in ("name", *settings)}
        for stream in range(2):
            keys = ("type", "unique-id", *settings, *transport)
            nodes |= {f"{device}/{stream}/{key}": "1" for key in keys}
    put(store, nodes)
    assert len(read(store, most_nodes(32))[0]) > 400


def test_values_of_more_bytes_than_a_card_can_need_are_one_clear_error(store: PyxsStore) -> None:
    long = {f"{d}/{s}/unique-id": "x" * 3000 for d in range(10) for s in range(10)}
    assert sum(map(len, long.values())) > MAX_BYTES
    put(store, long)
    with pytest.raises(ConfigError, match=f"{CARD} has values of more than {MAX_BYTES} bytes"):
        read(store)


def test_others_have_their_turn_while_a_tree_is_read(store: PyxsStore) -> None:
    put(store, {f"{d}/{s}/type": "p" for d in range(16) for s in range(16)})
    spent, turns = [0], [0]

    def spend(requests: int) -> None:
        spent[0] += requests

    async def main() -> None:
        reading = asyncio.create_task(read_tree(store, CARD, spend))
        while not reading.done():
            before = spent[0]
            await asyncio.sleep(0)
            assert spent[0] - before <= TURN_REQUESTS
            turns[0] += 1

    asyncio.run(main())
    assert turns[0] >= spent[0] // TURN_REQUESTS > 10
