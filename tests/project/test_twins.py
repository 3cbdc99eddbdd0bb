"""A twin is a copy of a source in C with one text changed: that text is there, once.

Whoever builds a twin says so as well, some only in a session with PipeWire, after minutes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from pw_module.stream_twins import TWINS as STREAM_TWINS
from pw_module.test_c_core import TWINS as CORE_TWINS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "pw_module" / "src"

# A file of SOURCES, and what is changed there.
Original = tuple[str, str]


def imports_change(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "interop.twin"
        and "Change" in [alias.name for alias in node.names]
        for node in tree.body
    )


def changes(text: str) -> Iterator[Original]:
    """What a test file names: each NAME = Change("file", "original", "changed"), see twin.py."""
    tree = ast.parse(text)
    for node in tree.body if imports_change(tree) else []:
        match node:
            case ast.Assign(value=ast.Call(func=ast.Name(id="Change"), args=[file, original, _])):
                yield ast.literal_eval(file), ast.literal_eval(original)


def all_originals() -> Iterator[Original]:
    for twin in (*STREAM_TWINS.values(), *CORE_TWINS.values()):
        yield twin[-3], twin[-2]
    for path in sorted((ROOT / "tests").rglob("*.py")):
        yield from changes(path.read_text())


def strange(originals: Iterator[Original]) -> list[Original]:
    return [
        (file, original)
        for file, original in originals
        if (SOURCES / file).read_text().count(original) != 1
    ]


def test_what_a_twin_changes_is_in_its_source_once() -> None:
    assert strange(all_originals()) == []


def test_a_change_whose_text_is_gone_or_there_twice_is_found() -> None:
    text = "from interop.twin import Change\n"
    text += 'GONE = Change("time/clock.c", "no such line", "")\n'
    text += 'TWICE = Change("time/clock.c", "return", "")\n'
    text += 'TRUE = Change("time/clock.c", "#include \\"time/clock.h\\"", "")\n'
    assert strange(changes(text)) == [("time/clock.c", "no such line"), ("time/clock.c", "return")]


def test_no_file_that_makes_changes_is_passed_over() -> None:
    texts = {path: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    making = [path for path, text in texts.items() if imports_change(ast.parse(text))]
    assert len(making) > 2
    assert [path for path in making if not list(changes(texts[path]))] == []
