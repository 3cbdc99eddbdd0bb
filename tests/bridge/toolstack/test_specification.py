"""The vsnd text of an xl.cfg, right and wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenpvaudio.errors import ConfigError
from xenpvaudio.toolstack.specification import parse_specification

ROOT = Path(__file__).resolve().parents[3]
STREAM = "'STREAM, type=p'"


def test_each_item_is_at_its_place() -> None:
    text = """
    # a comment, with vsnd = [ in it
    name = "work"; memory = 512
    disk = [ 'vsnd = [',
        'x' ]
    vsnd = [ [
        'CARD, short-name=one, sample-rates=48000; 44100, backend=driver',  # a comment
        "PCM, name=Front, channels-max=1",
        'STREAM, unique-id=pulse<a>media.role:navi, type=p', 'stream,type=c,',
        'pcm', 'STREAM, type=p, buffer-size=4096',
    ],
    ['STREAM, type=p'] ]
    vcpus = 2
    """
    first, second = parse_specification(text, "x.cfg")
    assert (first.line, first.backend) == (7, "driver")
    assert first.nodes == {
        "short-name": "one",
        "sample-rates": "48000,44100",
        "0/name": "Front",
        "0/channels-max": "1",
        "0/0/unique-id": "pulse<a>media.role:navi",
        "0/0/type": "p",
        "0/1/type": "c",
        "1/0/type": "p",
        "1/0/buffer-size": "4096",
    }
    assert (second.line, second.backend, second.nodes) == (12, "", {"0/0/type": "p"})


def test_the_last_of_several_counts_as_for_xl() -> None:
    text = f"vsnd = [[{STREAM}]]\nvsnd = [['STREAM, type=c']]"
    assert parse_specification(text, "x")[0].nodes == {"0/0/type": "c"}


@pytest.mark.parametrize("path", sorted((ROOT / "packaging" / "xl").glob("*.cfg")), ids=str)
def test_an_example_is_toml_too_and_means_the_same(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    items = tomllib.loads(text)["vsnd"]
    again = "vsnd = " + repr(items)
    assert [card.nodes for card in parse_specification(again, "x")] == [
        card.nodes for card in parse_specification(text, "x")
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 'x'\n", "x.cfg has no vsnd = [ ... ]"),
        ("vsnd = 3", "x.cfg, line 1: vsnd is not a list"),
        (f"vsnd += [[{STREAM}]]", "x.cfg, line 1: vsnd is not a list"),
        ("vsnd = []", "x.cfg, line 1: vsnd has no card"),
        ("\nvsnd = [[]]", "x.cfg, line 2: the card has no STREAM"),
        ("vsnd = [['CARD', 'PCM']]", "line 1: PCM 0 has no STREAM"),
        ("vsnd = [ 'CARD' ]", """line 1: "'CARD'" where a list"""),
        ("vsnd = [ [ 3 ] ]", 'line 1: "3" where a text in quotes'),
        (f"vsnd = [ [ {STREAM} {STREAM} ] ]", "a comma or"),
        (f"vsnd = [ [ [ {STREAM} ] ] ]", '"[" where a text'),
        (f"vsnd = [\n[ {STREAM},\n", 'line 2: the list that begins here has no "]"'),
        (f"vsnd = [\n[ {STREAM} ],\n", 'line 1: the list that begins here has no "]"'),
        ("vsnd = [[\n'STREAM, type=x']]", 'line 2: vsnd/0/0/type = "x"'),
        ("vsnd = [[\n'STREAM, typ=p']]", 'line 2: STREAM has no setting "typ=p"; did you mean'),
        ("vsnd = [['STREAM, type']]", 'STREAM has no setting "type"'),
        ("vsnd = [['PCM, type=p', 'STREAM']]", 'PCM has no setting "type=p"'),
        ("vsnd = [['TRACK, type=p']]", '"TRACK" is no part of a card'),
        ("vsnd = [['STREAM, type=p, sample-rates=48k']]", 'sample-rates = "48k"'),
        ("vsnd = [['STREAM, type=p, sample-formats=mp3']]", 'unknown sample format "mp3"'),
        ("vsnd = [['STREAM, type=p, buffer-size=0']]", "0 is not in 1.."),
        ("vsnd = [['STREAM, type=p, unique-id=a\\\\b']]", "a backslash is not allowed"),
        (f"vsnd = [{f'[{STREAM}],' * 17}]", "line 1: more than 16 cards"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_specification(text, "x.cfg")
    assert said in str(error.value)
    assert str(error.value).startswith("x.cfg")


@given(st.text(alphabet="vsnd=[]',\"#;\n \\CARDPMtype", max_size=60))
def test_any_text_is_cards_or_one_error(text: str) -> None:
    try:
        cards = parse_specification("vsnd=" + text, "x.cfg")
    except ConfigError:
        return
    assert cards and all("0/0/type" in card.nodes for card in cards)
