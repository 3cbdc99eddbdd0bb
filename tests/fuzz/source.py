"""Reads an input as choices: any bytes are a valid list of them, and where they end all are 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    """Takes the bytes of one input from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return max(0, len(self._data) - self._at)

    def raw(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self, size_bytes: int = 1) -> int:
        return int.from_bytes(self.raw(size_bytes), "little")

    def below(self, count: int) -> int:
        return self.number(1 if count <= 256 else 4) % count

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def text(self, most: int = 40) -> str:
        """Anything that may come out of XenStore."""
        return self.raw(self.below(most)).decode("utf-8", "surrogateescape").replace("\0", "")
