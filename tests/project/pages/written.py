"""What is written for users: the README and the pages on installing, and the commands in them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALLING = ("install", "toolstacks", "driver-domain", "automotive", "systems")
PAGES = "".join(
    (ROOT / "packaging" / "doc" / f"{name}.md").read_text(encoding="utf-8") for name in INSTALLING
)


def blocks(language: str, text: str = README + PAGES) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a block: a line each, or joined by a backslash or &&."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if part and not part.startswith("#")]


COMMAND_LINES = sorted({command for block in blocks("sh") for command in commands(block)})
