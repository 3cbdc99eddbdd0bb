"""The words for session managers, of the role that a unique-id names."""

from __future__ import annotations

import json
import re

import pytest

from xenpvaudio.config import ROLES
from xenpvaudio.frontend.roles import intended_roles
from xenpvaudio.logs.quoting import property_text


@pytest.mark.parametrize(
    ("unique_id", "words"),
    [
        ("pulse<car.driver>media.role:navi", ["Navigation", "navi"]),
        ("pulse<>media.role:Navigation", ["Navigation", "navi"]),
        ("pulse<>:phone", ["Communication", "phone"]),
        ("alsa<hw:0>media.role:music", ["Music", "music"]),
        ("pulse<>media.role:Speech-High", ["Speech-High"]),
    ],
)
def test_a_role_stands_for_all_words_of_its_purpose(unique_id: str, words: list[str]) -> None:
    assert json.loads(intended_roles(unique_id)) == words


def test_multimedia_is_for_all_that_is_listened_to() -> None:
    words = json.loads(intended_roles("pulse<>media.role:Multimedia"))
    assert {"Multimedia", "Music", "Movie", "Game", "music", "video", "game"} <= set(words)


@pytest.mark.parametrize(
    "unique_id",
    ["loudspeakers", "7", "", "pulse", "pulse<sink>", "pulse<>media.name:navi", "pulse<>:]["],
)
def test_without_a_role_that_is_one_there_is_nothing_to_say(unique_id: str) -> None:
    assert intended_roles(unique_id) == ""


@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_among_its_own_words_and_both_wireplumbers_read_them(role: str) -> None:
    value = property_text(intended_roles(f"pulse<>media.role:{role}"))
    assert role in json.loads(value)  # 0.5 parses it: it is not cut off
    if role.isalpha():
        assert role in re.findall("[A-Za-z]+", value)  # 0.4: gmatch("(%a+)")
