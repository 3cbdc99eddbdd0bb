"""Orders of the host's user, over the policy: what holds, and what lasts."""

from __future__ import annotations

from pathlib import Path

import pytest

from xenpvaudio.backend.host_user.orders import Order, Orders, key_of
from xenpvaudio.config import DomainPolicy
from xenpvaudio.errors import ConfigError

KEY = "6a9f0c1e-0000-4000-8000-000000000001"


def test_an_order_goes_over_the_policy_and_only_where_it_says_something(tmp_path: Path) -> None:
    orders = Orders(tmp_path / "orders.json")
    policy = DomainPolicy(microphone=False, muted=True, max_streams=3)
    assert orders.applied(KEY, policy) == policy
    orders.give(KEY, Order(microphone=True), always=False)
    assert orders.applied(KEY, policy) == DomainPolicy(microphone=True, muted=True, max_streams=3)
    orders.give(KEY, Order(muted=False), always=False)
    assert orders.applied(KEY, policy) == DomainPolicy(microphone=True, muted=False, max_streams=3)
    assert orders.applied("another", policy) == policy


def test_the_next_process_knows_what_was_to_last_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "new" / "orders.json"
    orders = Orders(file)
    orders.give(KEY, Order(microphone=True), always=True)
    orders.give(KEY, Order(muted=True), always=False)
    assert orders.of(KEY) == Order(True, True)
    assert orders.lasting(KEY) == Order(True, None)
    assert Orders(file).of(KEY) == Order(True, None)
    assert file.parent.stat().st_mode & 0o077 == 0


def test_the_newer_order_counts_whichever_lasts(tmp_path: Path) -> None:
    file = tmp_path / "orders.json"
    orders = Orders(file)
    orders.give(KEY, Order(microphone=True), always=True)
    orders.give(KEY, Order(microphone=False), always=False)
    assert orders.of(KEY).microphone is False
    orders.give(KEY, Order(microphone=True), always=True)
    assert orders.of(KEY).microphone is True


def test_what_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    orders = Orders.__new__(Orders)
    with pytest.raises(ConfigError, match="cannot read"):
        orders.__init__(tmp_path / "file" / "orders.json")  # type: ignore[misc]
    orders = Orders(tmp_path / "orders.json")
    (tmp_path / "orders.new").mkdir()
    with pytest.raises(ConfigError, match="leave --always out"):
        orders.give(KEY, Order(microphone=True), always=True)
    assert orders.of(KEY) == Order()


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"a": 1}', '{"a": {"microphone": "yes"}}', '{"a": {"other": true}}', "[" * 9999],
)
def test_a_file_that_it_did_not_write_is_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "orders.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"orders\.json is not what this program wrote"):
        Orders(file)


def test_a_domain_without_a_uuid_leaves_no_order_to_the_next_with_its_number() -> None:
    orders = Orders()
    orders.give(key_of(5, None), Order(microphone=True), always=False)
    orders.give(key_of(6, KEY.upper()), Order(microphone=True), always=False)
    orders.forget_number(5)
    orders.forget_number(6)
    assert orders.of(key_of(5, None)) == Order()
    assert orders.of(KEY) == Order(microphone=True)
