"""What a peer wrote reaches logs, properties and terminals without power over them."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenpvaudio.errors import ConfigError, PeerProtocolError
from xenpvaudio.logs.peer_log import LineFormatter
from xenpvaudio.logs.quoting import (
    LINE_MAX_CHARS,
    PROPERTY_MAX_CHARS,
    QUOTE_MAX_CHARS,
    printable,
    property_text,
    quote,
)
from xenpvaudio.xenbus import states, versions
from xenpvaudio.xenbus.nodes import parse_domid

HOSTILE = {
    "terminal escape": ("\x1b[2J\x1b]0;title\a", r"\x1b[2J\x1b]0;title\x07"),
    "newline": ("1\nxen-pv-audio: all is well", r"1\nxen-pv-audio: all is well"),
    "carriage return": ("1\rxx", r"1\rxx"),
    "right-to-left override": ("\u202egnp.exe", r"\u202egnp.exe"),
    "bidi isolates": ("\u2066a\u2069\u200f", r"\u2066a\u2069\u200f"),
    "c1 control": ("\x9b31m", r"\x9b31m"),
    "line separator": ("a\u2028b", r"a\u2028b"),
    "not utf-8": ("\udcff", r"\udcff"),
    "nul": ("a\0b", r"a\x00b"),
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_not_printable_becomes_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert quote(text) == '"' + shown.replace("\\\\", "\\") + '"'


@given(st.text(st.characters(exclude_categories=())), st.integers(8, 200))
def test_no_text_is_longer_than_its_limit_or_unprintable(text: str, most: int) -> None:
    shown = printable(text, most)
    assert len(shown) <= most
    assert shown.isprintable() or shown == ""
    shown.encode()
    assert len(quote(text)) <= QUOTE_MAX_CHARS + 2
    assert len(property_text(text)) <= PROPERTY_MAX_CHARS
    if text.isprintable() and len(text) <= most:
        assert shown == text


def test_where_a_quoted_text_ends_can_be_seen() -> None:
    assert quote('a" is fine, "b\\') == r'"a\" is fine, \"b\\"'


@pytest.mark.parametrize("text", [text for text, _ in HOSTILE.values()], ids=HOSTILE)
def test_errors_about_a_peers_nodes_quote_it(text: str) -> None:
    lines = []
    for read in (
        lambda: states.parse_state(text),
        lambda: parse_domid(text, "device/vsnd/0/backend-id"),
        lambda: versions.choose_version(text),
        lambda: versions.check_version(text),
    ):
        with pytest.raises((ConfigError, PeerProtocolError)) as caught:
            read()
        lines += [str(caught.value), caught.value.message]
    assert all(line.isprintable() for line in lines)


def test_a_record_is_one_line_of_bounded_length_whatever_came_into_it() -> None:
    record = logging.LogRecord(
        "x", logging.INFO, "x.py", 1, "domain %d: %s", (5, "\x1b[31m\n" + "a" * 10000), None
    )
    line = LineFormatter("xen-pv-audio: %(message)s").format(record)
    assert line.startswith(r"xen-pv-audio: domain 5: \x1b[31m\naaa")
    assert len(line) <= LINE_MAX_CHARS and line.isprintable()


def test_a_traceback_cannot_forge_a_line() -> None:
    try:
        raise ValueError("\nxen-pv-audio: all is well\x1b[2J")
    except ValueError as error:
        exc_info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.DEBUG, "x.py", 1, "failed", (), exc_info)
    first, *others = LineFormatter("xen-pv-audio: %(message)s").format(record).split("\n")
    assert first == "xen-pv-audio: failed"
    assert others and all(line.startswith("  | ") and line.isprintable() for line in others)


def test_the_programs_own_log_is_written_that_way() -> None:
    program = (
        "import logging; from xenpvaudio import cli;"
        "cli._COMMANDS['demo'] = lambda arguments: logging.warning('a%cb%cc', 27, 10) or 0;"
        "cli.main(['demo'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == "xen-pv-audio: a\\x1bb\\nc\n"
