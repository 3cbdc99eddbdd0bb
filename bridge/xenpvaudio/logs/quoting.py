"""What a peer wrote, made fit for a log line, a PipeWire property or a terminal. Pure; any thread.

Escapes take control of a terminal, newlines forge log lines, bidi controls (U+202E) make a line
read as another, and lone surrogates cannot be encoded: all that Python calls not printable becomes
an escape of ASCII letters. Nothing is longer than its limit.
"""

from __future__ import annotations

QUOTE_MAX_CHARS = 64
LINE_MAX_CHARS = 1000
PROPERTY_MAX_CHARS = 128
_MORE = "..."


def printable(text: str, max_chars: int = LINE_MAX_CHARS) -> str:
    """`text` without control characters, on one line, at most `max_chars` long."""
    shown: list[str] = []
    room = max_chars
    for char in text[: max_chars + 1]:
        part = char if char.isprintable() else ascii(char)[1:-1]
        room -= len(part)
        shown.append(part)
    if room >= 0:
        return "".join(shown)
    # an escape is left out as a whole: half of one would be another text
    while shown and sum(map(len, shown)) > max_chars - len(_MORE):
        shown.pop()
    return "".join(shown) + _MORE


def quote(text: str, max_chars: int = QUOTE_MAX_CHARS) -> str:
    """`text` in quotes, for the middle of a sentence: where it ends can be seen."""
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"'), max_chars) + '"'


def property_text(text: str) -> str:
    """`text` as the value of a PipeWire property."""
    return printable(text, PROPERTY_MAX_CHARS)
