"""The vsnd text of an xl.cfg -> what a toolstack writes for each card. Pure; any thread.

    vsnd = [ [ 'CARD, short-name=x, sample-rates=48000;44100', 'PCM', 'STREAM, type=p' ] ]

A list for each card (xl.cfg(5), "vsnd"; xl's xl_parse.c parse_vsnd_item and libxl's libxl_vsnd.c).
The rest of the file is skipped. The same line is TOML, so the file may be that, too. Stricter than
xl: a value that is none is an error here, where xl takes it for 0 and leaves it out. Every mistake
is one ConfigError with the file's name and line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from xenpvaudio.errors import ConfigError
from xenpvaudio.logs.quoting import quote
from xenpvaudio.sndif.card import parse_card
from xenpvaudio.sndif.codes import LIST_SEPARATOR, Key

NAME = "vsnd"
MAX_CARDS = 16
_XL_SEPARATOR = ";"
_COMMON = (
    Key.SAMPLE_RATES,
    Key.SAMPLE_FORMATS,
    Key.CHANNELS_MIN,
    Key.CHANNELS_MAX,
    Key.BUFFER_SIZE,
)
_BACKEND = "backend"
_LEVELS: dict[str, tuple[str, ...]] = {
    "card": (_BACKEND, Key.SHORT_NAME, Key.LONG_NAME, *_COMMON),
    "pcm": (Key.DEVICE_NAME, *_COMMON),
    "stream": (Key.UNIQUE_ID, Key.TYPE, *_COMMON),
}

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r]+|\#[^\n]*|\\\n)
    |(?P<end>[\n;])
    |(?P<text>'[^'\n]*'|"[^"\n]*")
    |(?P<word>[A-Za-z_][\w.-]*)
    |(?P<mark>\+?=|[\[\],])
    |(?P<other>.)""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_List: TypeAlias = "list[_Token | _List]"


@dataclass(slots=True)
class CardSpec:
    """One card. `backend`: the domain that is to serve it, "" for domain 0. `nodes`: path below the
    frontend's directory -> value."""

    line: int
    backend: str = ""
    nodes: dict[str, str] = field(default_factory=dict)


def parse_specification(text: str, file: str) -> list[CardSpec]:
    """The cards of a file's text; `file` is its name in messages. ConfigError if there is none."""
    tokens = list(_tokens(text))
    found: tuple[int, _List] | None = None
    start, depth = True, 0
    for number, token in enumerate(tokens):
        if start and token[:2] == ("word", NAME):
            found = number, _assigned(tokens, number, file)
        depth += {"[": 1, "]": -1}.get(token.text, 0) if token.kind == "mark" else 0
        start = token.kind == "end" and depth <= 0
    if found is None:
        raise ConfigError(f"{file} has no {NAME} = [ ... ]", hint="see packaging/xl/desktop.cfg")
    number, cards = found
    if not cards:
        raise ConfigError(f"{file}, line {tokens[number].line}: {NAME} has no card")
    if len(cards) > MAX_CARDS:
        raise ConfigError(f"{file}, line {tokens[number].line}: more than {MAX_CARDS} cards")
    return [_card(card, file, tokens[number].line) for card in cards]


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or ""
        if kind != "skip":
            yield _Token(kind, found[0], line)
        line += found[0].count("\n")


def _assigned(tokens: list[_Token], name: int, file: str) -> _List:
    """The list that follows a name and "="."""
    rest = iter(tokens[name + 1 :])
    line = tokens[name].line
    first, second = next(rest, None), next(rest, None)
    if first is None or first.text != "=" or second is None or second.text != "[":
        raise ConfigError(
            f"{file}, line {line}: {NAME} is not a list of cards",
            hint=f"write {NAME} = [ [ 'CARD, ...', 'PCM, ...', 'STREAM, ...' ] ]",
        )
    return _list(rest, line, file)


def _list(rest: Iterator[_Token], line: int, file: str, depth: int = 1) -> _List:
    """What stands before the closing bracket. Two levels deep at most."""
    made: _List = []
    separated = True
    for token in rest:
        if token.kind == "end" and token.text == "\n":
            continue
        if token.text == "]" and token.kind == "mark":
            return made
        if token.text == "," and not separated:
            separated = True
            continue
        opens = token.kind == "mark" and token.text == "[" and depth == 1
        if not separated or not (opens or (token.kind == "text" and depth == 2)):
            what = "a list" if depth == 1 else "a text in quotes"
            raise ConfigError(
                f"{file}, line {token.line}: {quote(token.text, 32)} where {what}, a comma or "
                '"]" was expected'
            )
        made.append(_list(rest, token.line, file, 2) if opens else token)
        separated = False
    raise ConfigError(f'{file}, line {line}: the list that begins here has no "]"')


def _card(items: _Token | _List, file: str, line: int) -> CardSpec:
    """`line`: where the list of cards begins."""
    assert isinstance(items, list)  # _list() takes no texts on this level
    texts = [item for item in items if isinstance(item, _Token)]
    spec = CardSpec(texts[0].line if texts else line)
    streams: list[int] = []  # of each PCM device
    for item in texts:
        where = f"{file}, line {item.line}"
        kind, *settings = [part.strip() for part in item.text[1:-1].split(",")]
        level, prefix = kind.lower(), ""
        if level == "pcm":
            streams.append(0)
            prefix = f"{len(streams) - 1}/"
        elif level == "stream":
            streams = streams or [0]
            prefix = f"{len(streams) - 1}/{streams[-1]}/"
            streams[-1] += 1
        elif level != "card":
            raise ConfigError(
                f"{where}: {quote(kind, 32)} is no part of a card", hint="CARD, PCM and STREAM are"
            )
        for setting in filter(None, settings):
            key, value = _setting(setting, kind, where)
            if key == _BACKEND:
                spec.backend = value
            else:
                spec.nodes[prefix + key] = value
    if not streams or 0 in streams:
        what = f"PCM {streams.index(0)}" if streams else "the card"
        raise ConfigError(
            f"{file}, line {spec.line}: {what} has no STREAM", hint="add 'STREAM, type=p'"
        )
    try:
        parse_card(spec.nodes, where=NAME)
    except ConfigError as error:
        raise ConfigError(f"{file}, line {spec.line}: {error.message}", hint=error.hint) from None
    return spec


def _setting(setting: str, kind: str, where: str) -> tuple[str, str]:
    """A key that `kind` may have, and its value as it is in XenStore."""
    known = _LEVELS[kind.lower()]
    key, equals, value = setting.partition("=")
    if not equals or key not in known:
        near = difflib.get_close_matches(key, known, 1)
        meant = f"did you mean {near[0]}? " if near and equals else ""
        raise ConfigError(
            f"{where}: {kind} has no setting {quote(setting, 48)}",
            hint=f"{meant}it has {', '.join(f'{name}=' for name in known)}",
        )
    if "\\" in value:
        raise ConfigError(f"{where}: {quote(setting, 48)}: a backslash is not allowed")
    if key in (Key.SAMPLE_RATES, Key.SAMPLE_FORMATS):
        value = LIST_SEPARATOR.join(item.strip() for item in value.split(_XL_SEPARATOR))
    return str(key), value
