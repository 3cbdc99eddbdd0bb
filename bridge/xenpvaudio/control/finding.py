"""What a check found. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # not looked at, because of what was wrong before


@dataclass(frozen=True, slots=True)
class Finding:
    """One line about one thing. `check`: a word for programs, the same whatever was found; `mend`:
    what to type, or to do where nothing can be typed here."""

    check: str
    level: Level
    text: str
    mend: str = ""


def ok(check: str, text: str) -> Finding:
    return Finding(check, Level.OK, text)


def wrong(check: str, text: str, mend: str) -> Finding:
    return Finding(check, Level.WRONG, text, mend)


def unknown(check: str, text: str) -> Finding:
    return Finding(check, Level.UNKNOWN, text)
