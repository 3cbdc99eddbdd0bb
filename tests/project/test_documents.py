"""Every document and source file that the project's own text names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = {".py", ".pyi", ".c", ".h", ".cdef", ".md", ".sh", ".toml", ".cfg", ".conf", ".rules", ".1"}
PLACES = ("bridge", "pw_module", "packaging", "tests")
FOREIGN = {"tests/project/test_documents.py"}
DOCUMENT = re.compile(r"[\w./-]*\b[\w-]+\.md\b")
OWN_FILE = re.compile(
    r"\b(?:bridge|pw_module|tests|packaging)/[\w./-]+\.(?:py|c|h|cdef|svg|1)\b(?!\.\w)"
)


def texts() -> list[Path]:
    found = [ROOT / "README.md", ROOT / "Makefile"]
    for place in PLACES:
        found += [path for path in (ROOT / place).rglob("*") if path.suffix in TEXT]
    return [path for path in found if path.relative_to(ROOT).as_posix() not in FOREIGN]


def missing(text: str, file: Path) -> set[str]:
    """What `text` names and is neither at that path, nor beside `file`, nor in packaging/doc."""
    plain = text.replace("\\-", "-")
    named = set(DOCUMENT.findall(plain)) | set(OWN_FILE.findall(plain))
    return {
        name
        for name in named
        if not any((base / name).exists() for base in (ROOT, file.parent, ROOT / "packaging/doc"))
    }


def test_what_the_text_names_is_there() -> None:
    wrong = {}
    for path in texts():
        if found := missing(path.read_text(encoding="utf-8"), path):
            wrong[path.relative_to(ROOT).as_posix()] = found
    assert wrong == {}


def test_readme_tells_of_every_room_and_of_files_that_are_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("\n## How it is built\n")[1].split("\n## ")[0]
    sources = ROOT / "pw_module" / "src"
    python = [path.parent for path in (ROOT / "bridge" / "xenpvaudio").glob("*/__init__.py")]
    picture = (ROOT / "packaging" / "doc" / "pictures" / "rooms.svg").read_text(encoding="utf-8")
    for room in [*python, *(path for path in sources.iterdir() if path.is_dir())]:
        assert f"`{room.name}`" in section or f"/{room.name}`" in section, room.name
        assert f"{room.name}/" in picture, room.name
    files = re.findall(r"`(\w+/\w+\.c)`", section)
    assert len(files) > 5
    assert [name for name in files if not (sources / name).exists()] == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("see PROTOCOL.md, CUR_POS", "PROTOCOL.md"),
        ("(packaging/doc/none.md)", "packaging/doc/none.md"),
        ("as pw_module/src/ring.c does", "pw_module/src/ring.c"),
    ],
)
def test_a_name_without_a_file_is_told(text: str, name: str) -> None:
    assert missing(text, ROOT / "README.md") == {name}
